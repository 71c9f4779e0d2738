"""What our source uses of TensorRT's API, read from its syntax tree, held against what a TensorRT's bindings have.

A value's class is known by annotation ("tensorrt.IBuilderConfig"), by the signature of the call that gave it, or by
iterating over a list of such. `trt` is the module.
"""

import ast
import dataclasses
import re

MODULES = ("tensorrt", "tensorrt_rtx")
RTX_ONLY = ("ComputeCapability", "DynamicShapesKernelSpecializationStrategy")  # written as members of library.trt
LIST = re.compile(r"(?:list|List|tuple)\[(.+)\]")


@dataclasses.dataclass(frozen=True)
class Use:
    """One member that is used; `arguments` of a call: how many by position, and the names of the others."""

    where: str
    module: str  # of the annotation: tensorrt_rtx means that only TensorRT-RTX has to have it
    owner: str  # a class, or "module"
    member: str
    arguments: tuple[int, tuple[str, ...]] | None = None


class ApiUse(ast.NodeVisitor):
    """Collects every use in one file; `unknown` are members of values whose class could not be told."""

    def __init__(self, source, where, api):
        self.where, self.api = where, api
        self.uses, self.unknown = [], []
        self.scopes = [{}]
        self.members = {}  # self.x of the class under way
        tree = ast.parse(source)
        functions = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))
        self.functions = {node.name: kind for node in functions if (kind := self.annotated(node.returns))}
        self.visit(tree)

    # classes of values

    def class_of(self, node):
        """Return (module, class) of an expression, or None."""
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self.scopes) if node.id in scope), None)
        if isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "self":
                return self.members.get(node.attr)
            return None
        if isinstance(node, ast.Call):
            if isinstance(node.func, ast.Name) and node.func.id == "checked" and node.args:
                return self.class_of(node.args[0])
            if isinstance(node.func, ast.Name) and node.func.id == "constructed":
                return ("tensorrt", node.args[0].attr)
            if isinstance(node.func, ast.Name) and node.func.id in self.functions:
                return self.functions[node.func.id]
            return self.result_of(node.func)
        return None

    def result_of(self, function):
        """Return the class that calling `function` gives."""
        if not isinstance(function, ast.Attribute):
            return None
        if isinstance(function.value, ast.Name) and function.value.id == "trt":
            return ("tensorrt", function.attr) if function.attr in self.api["classes"] else None
        owner = self.class_of(function.value)
        for signature in self.signatures(owner, function.attr) or []:
            result = signature.rpartition("-> ")[2].strip().rpartition(".")[2]
            if result in self.api["classes"]:
                return (owner[0], result)
        return None

    def signatures(self, owner, member):
        return self.api["classes"].get(owner[1], {}).get(member) if owner else None

    @staticmethod
    def annotated(node):
        """Return (module, class) of an annotation; of list[X] and X | None that of X."""
        if node is None:
            return None
        text = node.value if isinstance(node, ast.Constant) else ast.unparse(node)
        if not isinstance(text, str):
            return None
        text = text.replace(" | None", "").strip("'\"")
        found = LIST.fullmatch(text)
        module, _, name = (found[1] if found else text).strip("'\"").rpartition(".")
        return (module, name) if module in MODULES else None

    # scopes

    def visit_ClassDef(self, node):
        outer, self.members = self.members, {}
        for child in ast.walk(node):
            if isinstance(child, ast.AnnAssign):
                target, kind = child.target, self.annotated(child.annotation)
                if kind and isinstance(target, ast.Attribute):
                    self.members[target.attr] = kind
        for function in (child for child in node.body if isinstance(child, ast.FunctionDef)):
            self.scopes.append(self.parameters(function))
            for child in ast.walk(function):
                if isinstance(child, ast.Assign):
                    self.assign(child.targets[0], child.value)
            self.scopes.pop()
        self.generic_visit(node)
        self.members = outer

    def parameters(self, node):
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        return {a.arg: kind for a in arguments if (kind := self.annotated(a.annotation))}

    def visit_FunctionDef(self, node):
        self.scopes.append(self.parameters(node))
        self.generic_visit(node)
        self.scopes.pop()

    def visit_comprehension_of(self, node):
        for generator in node.generators:
            if kind := self.class_of(generator.iter):
                self.scopes[-1][generator.target.id] = kind
        self.generic_visit(node)

    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = visit_comprehension_of  # noqa: N815 - ast's names

    def visit_For(self, node):
        if isinstance(node.target, ast.Name) and (kind := self.class_of(node.iter)):
            self.scopes[-1][node.target.id] = kind
        self.generic_visit(node)

    def assign(self, target, value):
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
            for one, other in zip(target.elts, value.elts):
                self.assign(one, other)
        elif kind := self.class_of(value):
            if isinstance(target, ast.Name):
                self.scopes[-1][target.id] = kind
            elif isinstance(target, ast.Attribute):
                self.members[target.attr] = kind

    def visit_Assign(self, node):
        self.generic_visit(node)
        self.assign(node.targets[0], node.value)

    def visit_AnnAssign(self, node):
        self.generic_visit(node)
        if isinstance(node.target, ast.Name) and (kind := self.annotated(node.annotation)):
            self.scopes[-1][node.target.id] = kind

    # uses

    def visit_Call(self, node):
        if isinstance(node.func, ast.Attribute) and not any(isinstance(a, ast.Starred) for a in node.args):
            names = tuple(keyword.arg for keyword in node.keywords if keyword.arg)
            self.use(node.func, (len(node.args), names))
            self.visit(node.func.value)
            for child in (*node.args, *(keyword.value for keyword in node.keywords)):
                self.visit(child)
        else:
            self.generic_visit(node)

    def visit_Attribute(self, node):
        self.use(node, None)
        self.generic_visit(node)

    def use(self, node, arguments):
        where = f"{self.where}:{node.lineno}"
        path = ast.unparse(node).split(".")
        if path[0] in ("trt", *MODULES) and all(part.isidentifier() or part == "__members__" for part in path):
            module = path[0] if path[0] in MODULES else "tensorrt"
            self.uses.append(Use(where, module, "module", path[1]))
            if len(path) > 2 and path[2] != "__members__":
                if path[2] == "__init__" and arguments:  # of the base class, with self as the first argument
                    arguments = (arguments[0] - 1, arguments[1])
                self.uses.append(Use(where, module, path[1], path[2], arguments))
        elif path[:2] == ["library", "trt"] and path[2:3] and path[2] in RTX_ONLY:
            self.uses.append(Use(where, "tensorrt_rtx", "module", path[2]))
            if len(path) == 4:
                self.uses.append(Use(where, "tensorrt_rtx", path[2], path[3], arguments))
        elif owner := self.class_of(node.value):
            self.uses.append(Use(where, owner[0], owner[1], node.attr, arguments))
        elif node.attr in self.api["distinctive"]:
            self.unknown.append(f"{where} {ast.unparse(node)}")


def with_distinctive(api):
    """Add the member names that only TensorRT would have: those of the classes that we use, with an underscore."""
    owners = ("Builder", "INetworkDefinition", "IBuilderConfig", "IOptimizationProfile", "OnnxParser", "ParserError",
              "ITimingCache", "Runtime", "ICudaEngine", "IExecutionContext", "EngineInspector", "Refitter", "ILayer",
              "OnnxParserRefitter")  # fmt: skip
    names = {name for owner in owners for name in api["classes"].get(owner, {})}
    return api | {"distinctive": {name for name in names if "_" in name.strip("_") and not name.startswith("_")}}


def faults_of(use, api):
    """Return what a TensorRT's bindings lack for one use; nothing where they have it."""
    members = api["classes"].get(use.owner)
    if members is None or use.member not in members:
        return [f"{use.where}: {use.owner}.{use.member} does not exist in {api['version']}"]
    signatures = members[use.member]
    if use.arguments is None or not signatures:
        return []
    if any(_accepts(signature, *use.arguments) for signature in signatures):
        return []
    return [f"{use.where}: {use.owner}.{use.member} takes {signatures}, called with {use.arguments}"]


def parameters_of(signature):
    """Return the parameters of a signature as pybind11 writes it, without self: name → whether it must be given."""
    inside = signature[signature.index("(") + 1 : signature.rindex(") -> ")]
    parameters = [p for p in _split(inside) if not p.startswith("self:")]
    return {p.partition(":")[0].strip(): " = " not in p for p in parameters}


def _accepts(signature, positional, keywords):
    parameters = parameters_of(signature)
    names, required = list(parameters), {name for name, is_required in parameters.items() if is_required}
    given = set(names[:positional]) | set(keywords)
    return positional <= len(names) and set(keywords) <= set(names[positional:]) and required <= given


def _split(text):
    """Split at the commas that are not within brackets."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        depth += (character in "[(<") - (character in "])>")
        if character == "," and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    return [part for part in (*parts, text[start:].strip()) if part]
