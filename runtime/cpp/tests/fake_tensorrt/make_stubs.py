"""Write, from TensorRT's own headers, classes that abort on every call: what the fake TensorRT then overrides."""

import pathlib
import re
import sys

CLASSES = {
    "VRuntime": "RuntimeStub",
    "VCudaEngine": "EngineStub",
    "VExecutionContext": "ContextStub",
    "VHostMemory": "HostMemoryStub",
    "VRuntimeConfig": "RuntimeConfigStub",
    "VRuntimeCache": "RuntimeCacheStub",  # of TensorRT-RTX
}
PREAMBLE = """// Written by make_stubs.py.
#pragma once
#include <NvInferRuntime.h>

#include <cstdio>
#include <cstdlib>

[[noreturn]] inline void unexpected(const char* name) {
  std::fprintf(stderr, "%s is not faked\\n", name);
  std::abort();
}

using namespace nvinfer1;

"""
PURE = re.compile(r"virtual\s+([^;{}~]*?)\s*=\s*0\s*;", re.DOTALL)
REGISTRY = "IPluginRegistry"  # an interface by itself, and declared elsewhere


def stub(header: str, name: str, stub_name: str, namespace: str = "nvinfer1::apiv") -> str:
    """Return a class that implements every pure virtual function of `name`, each by aborting."""
    body = re.split(rf"class {name}\s", header, maxsplit=1)[1]
    methods = PURE.findall(re.sub(r"//[^\n]*", "", body[: body.index("\n};")]))
    lines = [f"  {' '.join(method.split())} override {{ unexpected(__func__); }}" for method in methods]
    return f"class {stub_name} : public {namespace}::{name} {{\n public:\n" + "\n".join(lines) + "\n};\n"


def main() -> None:
    include, output = map(pathlib.Path, sys.argv[1:])
    header = (include / "NvInferImpl.h").read_text()
    known = {name: stub_name for name, stub_name in CLASSES.items() if f"class {name} " in header}
    stubs = "\n".join(stub(header, name, stub_name) for name, stub_name in known.items())
    stubs += "\n" + stub((include / "NvInferRuntimeCommon.h").read_text(), REGISTRY, "RegistryStub", "nvinfer1")
    output.parent.mkdir(exist_ok=True)
    output.write_text(PREAMBLE + stubs)


if __name__ == "__main__":
    main()
