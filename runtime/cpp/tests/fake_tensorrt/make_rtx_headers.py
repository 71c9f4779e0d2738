"""Write headers of TensorRT-RTX as far as our source uses them: TensorRT's own, and what TensorRT-RTX alone has.

Its headers come with NVIDIA's SDK alone. What is added here is declared as its documentation has it:
docs.nvidia.com/deeplearning/tensorrt-rtx/latest/_static/c-api, IRuntimeConfig and IRuntimeCache.
"""

import pathlib
import shutil
import sys

VERSION = ("TRT_MAJOR_ENTERPRISE 11", "TRT_MAJOR_ENTERPRISE 1\n#define TRT_MAJOR_RTX 1")
PARTS = """
enum class DynamicShapesKernelSpecializationStrategy : int32_t { kLAZY = 0, kEAGER = 1, kNONE = 2 };
class IRuntimeCache;
namespace apiv {
"""
VIRTUAL = """
class VRuntimeCache : public VRoot
{
public:
    virtual IHostMemory* serialize() const noexcept = 0;
    virtual bool deserialize(void const* blob, size_t size) noexcept = 0;
};

class VRuntimeConfig : public VRoot
{
public:
    virtual IRuntimeCache* createRuntimeCache() const noexcept = 0;
    virtual bool setRuntimeCache(IRuntimeCache const& cache) noexcept = 0;
    virtual void setDynamicShapesKernelSpecializationStrategy(
        DynamicShapesKernelSpecializationStrategy strategy) noexcept = 0;
"""
CACHE = """
class IRuntimeCache : public INoCopy
{
public:
    virtual ~IRuntimeCache() noexcept = default;
    IHostMemory* serialize() const noexcept { return mImpl->serialize(); }
    bool deserialize(void const* blob, size_t size) noexcept { return mImpl->deserialize(blob, size); }

protected:
    apiv::VRuntimeCache* mImpl;
};

class IRuntimeConfig : public INoCopy
{
public:
    IRuntimeCache* createRuntimeCache() const noexcept { return mImpl->createRuntimeCache(); }
    bool setRuntimeCache(IRuntimeCache const& cache) noexcept { return mImpl->setRuntimeCache(cache); }
    void setDynamicShapesKernelSpecializationStrategy(DynamicShapesKernelSpecializationStrategy strategy) noexcept
    {
        mImpl->setDynamicShapesKernelSpecializationStrategy(strategy);
    }
"""


def replace(path: pathlib.Path, old: str, new: str) -> None:
    """Put `new` in the place of `old`, which is there once."""
    text = path.read_text()
    assert text.count(old) == 1, f"{path.name} has {old!r} {text.count(old)} times"
    path.write_text(text.replace(old, new))


def main() -> None:
    include, output = map(pathlib.Path, sys.argv[1:])
    shutil.rmtree(output, ignore_errors=True)
    shutil.copytree(include, output)
    replace(output / "NvInferVersion.h", *VERSION)
    implementation, runtime = output / "NvInferImpl.h", output / "NvInferRuntime.h"
    replace(implementation, "class VRuntimeConfig : public VRoot\n{\npublic:\n", VIRTUAL)
    text = implementation.read_text()
    implementation.write_text(text.replace("namespace apiv\n{\n", PARTS.lstrip(), 1))
    replace(runtime, "class IRuntimeConfig : public INoCopy\n{\npublic:\n", CACHE)


if __name__ == "__main__":
    main()
