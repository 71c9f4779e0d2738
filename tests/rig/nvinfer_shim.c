/* TensorRT's three libraries for its Python bindings, on TensorRT-RTX, whose parser and builder need no GPU.
 *
 * The bindings ask for the library version that they were made with, and TensorRT-RTX refuses every version but its
 * own: each call is passed on with the library's own version. Only what the bindings link against is here.
 * RTX_LIBRARY_DIR names the folder of libtensorrt_rtx.so.1.*.
 */
#include <dlfcn.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>

static void *load(const char *name)
{
    char pattern[4096];
    glob_t found;
    const char *folder = getenv("RTX_LIBRARY_DIR");
    snprintf(pattern, sizeof pattern, "%s/%s.so.*.*.*", folder ? folder : ".", name);
    if (glob(pattern, 0, NULL, &found) != 0) {
        fprintf(stderr, "shim: no %s; is RTX_LIBRARY_DIR set?\n", pattern);
        abort();
    }
    void *library = dlopen(found.gl_pathv[0], RTLD_NOW | RTLD_GLOBAL);
    if (library == NULL) {
        fprintf(stderr, "shim: %s\n", dlerror());
        abort();
    }
    globfree(&found);
    return library;
}

static void *core(void)
{
    static void *library;
    if (library == NULL)
        library = load("libtensorrt_rtx");
    return library;
}

static void *onnx_parser(void)
{
    static void *library;
    core();
    if (library == NULL)
        library = load("libtensorrt_onnxparser_rtx");
    return library;
}

static int version_of(void *library, const char *name) { return ((int (*)(void))dlsym(library, name))(); }

static void *create(void *library, const char *name, void *argument, int version)
{
    return ((void *(*)(void *, int))dlsym(library, name))(argument, version);
}

static void *create_from(void *library, const char *name, void *first, void *second, int version)
{
    return ((void *(*)(void *, void *, int))dlsym(library, name))(first, second, version);
}

int getInferLibVersion(void) { return version_of(core(), "getInferLibVersion"); }
int getNvOnnxParserVersion(void) { return version_of(onnx_parser(), "getNvOnnxParserVersion"); }

int initLibNvInferPlugins(void *logger, const char *name_space)
{
    (void)logger;
    (void)name_space;
    return 1; /* there are none */
}

void *createInferBuilder_INTERNAL(void *logger, int version)
{
    (void)version;
    return create(core(), "createInferBuilder_INTERNAL", logger, getInferLibVersion());
}

void *createInferRuntime_INTERNAL(void *logger, int version)
{
    (void)version;
    return create(core(), "createInferRuntime_INTERNAL", logger, getInferLibVersion());
}

void *createInferRefitter_INTERNAL(void *engine, void *logger, int version)
{
    (void)version;
    return create_from(core(), "createInferRefitter_INTERNAL", engine, logger, getInferLibVersion());
}

void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version)
{
    (void)version;
    return create_from(onnx_parser(), "createNvOnnxParser_INTERNAL", network, logger, getNvOnnxParserVersion());
}

void *createNvOnnxParserRefitter_INTERNAL(void *refitter, void *logger, int version)
{
    (void)refitter;
    (void)logger;
    (void)version;
    return NULL; /* refitting takes an engine, and an engine takes a GPU */
}

void *getPluginRegistry(void) { return ((void *(*)(void))dlsym(core(), "getPluginRegistry"))(); }

void *getBuilderPluginRegistry(int capability)
{
    return ((void *(*)(int))dlsym(core(), "getBuilderPluginRegistry"))(capability);
}
