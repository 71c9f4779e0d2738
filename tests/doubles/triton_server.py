"""A real Triton server on loopback, out of the wheel that `make test` unpacks; for tests only, it has known holes."""

import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time

import tritonclient.grpc
import tritonclient.http

from deepvit.runtime.triton.flags import ENVIRONMENT, RULES

WHEEL = pathlib.Path(sys.prefix) / "tritonserver"
START_SECONDS = 120


def install_server(folder: pathlib.Path) -> pathlib.Path:
    """Copy the server out of the wheel, with the Python backend's stub where it looks for it; return its folder."""
    shutil.copytree(WHEEL, folder, symlinks=True)
    server = folder / "pytriton" / "tritonserver"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    stub = server / "python_backend_stubs" / version / "triton_python_backend_stub"
    shutil.copy2(stub, server / "backends" / "python")
    for program in (server / "bin" / "tritonserver", server / "backends" / "python" / stub.name):
        program.chmod(0o755)
    return server


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [opened.getsockname()[1] for opened in sockets]
    for opened in sockets:
        opened.close()
    return ports


def line_for(repository: pathlib.Path) -> list[str]:
    """How the repository's README starts a server."""
    return ["tritonserver", f"--model-repository={repository}", *RULES]


class Server:
    """A running tritonserver; a context manager that ends it.

    Args:
        server: Its folder.
        line: How it is started; what this machine needs besides is added.
        log: File for what it says.
        environment: Of its process, added to ours.
    """

    def __init__(
        self, server: pathlib.Path, line: list[str], log: pathlib.Path, environment: dict[str, str] = ENVIRONMENT
    ) -> None:
        self.http_port, self.grpc_port, self.metrics_port = free_ports(3)
        self.log = log
        command = [
            *line,
            f"--backend-directory={server / 'backends'}",
            f"--cache-directory={server / 'caches'}",
            "--http-address=127.0.0.1", f"--http-port={self.http_port}",
            "--grpc-address=127.0.0.1", f"--grpc-port={self.grpc_port}",
            "--metrics-address=127.0.0.1", f"--metrics-port={self.metrics_port}",
            "--exit-timeout-secs=2",
        ]  # fmt: skip
        path = os.pathsep.join([str(pathlib.Path(sys.executable).parent), str(server / "bin"), os.environ["PATH"]])
        libraries = os.pathsep.join([str(server.parents[1] / "nvidia_pytriton.libs")])
        given = {**os.environ, "PATH": path, "LD_LIBRARY_PATH": libraries, **environment}
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=given)

    def __enter__(self) -> "Server":
        try:
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait(self) -> None:
        """Wait until the server answers, which it does once every model has come up or failed."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"tritonserver ended with {self.process.returncode}: {self.text()[-2000:]}")
            try:
                if self.http().is_server_live():
                    return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(f"the server did not come up in {START_SECONDS} s: {self.text()[-2000:]}")

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def states(self) -> dict[str, str]:
        return {model["name"]: model.get("state", "") for model in self.http().get_model_repository_index()}

    def http(self) -> "tritonclient.http.InferenceServerClient":
        return tritonclient.http.InferenceServerClient(f"127.0.0.1:{self.http_port}", concurrency=8)

    def grpc(self) -> "tritonclient.grpc.InferenceServerClient":
        return tritonclient.grpc.InferenceServerClient(f"127.0.0.1:{self.grpc_port}")

    def resident_bytes(self) -> int:
        """Memory of the server and of its Python models' processes."""
        return sum(kilobytes for _, kilobytes, _ in self._family()) * 1024

    def processes(self) -> list[tuple[int, str]]:
        """Number and command of the server's process and of its Python models'."""
        return [(pid, command) for pid, _, command in self._family()]

    def _family(self) -> list[tuple[int, int, str]]:
        columns = "pid=,ppid=,rss=,args="
        found = subprocess.run(["ps", "-ww", "-o", columns, "-A"], capture_output=True, text=True, check=True)
        rows = [line.split(maxsplit=3) for line in found.stdout.splitlines()]
        family = {self.process.pid}
        for _ in range(3):
            family |= {int(pid) for pid, parent, *_ in rows if int(parent) in family}
        return [(int(pid), int(size), command) for pid, _, size, command in rows if int(pid) in family]

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
