#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-2-Clause
"""Finds the forms of co_await that g++ 12 compiles wrongly.

    eddy-forms -p BUILD [FILE...]      checks files of BUILD/compile_commands.json
    eddy-forms FILE... [-- FLAGS...]   checks these files, compiled with these flags

With -p the tool checks each listed source file that awaits, and the project's headers. FILEs,
which may be folders, restrict the check. Without -p the flags are `-std=c++23` and those of
`pkg-config --cflags eddy`, unless FLAGS are given. In a FILE that ends in .md the tool
checks the C++ blocks, each of which must compile by itself.

g++ 14 and clang 19 compile all of these forms correctly. The rule for g++ 12: make each co_await
a statement of its own, and name the objects that it needs first.

clang-query-19 reads the syntax; it is in Debian's package clang-tools-19. The environment
variable CLANG_QUERY names another program. The tool says so if it cannot decide on an
expression, which happens in a template that nothing instantiates.

Exit status: 0 if no form was found, 1 if one was found, 2 if a file could not be read,
77 if there is no clang-query.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import tempfile

FORMS = {
    "condition": "name the value of a co_await before using it as a condition: g++ 12 lays out "
                 "the frame wrongly in a coroutine that declares no variable",
    "branch": "write an if: the co_await in this branch runs whatever the condition says",
    "choice": "write an if, or name the object that ?: chooses: the object is destroyed twice",
    "temporary": "name the value of this condition: a temporary in it does not compile before a "
                 "co_await",
    "capture": "name the lambda first: its captures by value are destroyed twice",
    "aggregate": "name the aggregate first, or give it a constructor: its members are destroyed twice",
    "member": "name the value of the co_await first: the members of this aggregate or array are "
              "destroyed twice",
    "list": "name the object that this braced list makes: a std::initializer_list does not compile "
            "in a co_await",
    "statement": "write statements: a co_await or co_return in a statement expression may not "
                 "compile",
    "throw": "name the value of the co_await first: the thrown object is destroyed twice",
}

UNKNOWN = "this expression: it is unknown whether the destructor of {} does something"

AWAITS = ("CoawaitExpr", "CoyieldExpr", "DependentCoawaitExpr")
WRAPPERS = ("ExprWithCleanups", "ParenExpr", "ImplicitCastExpr", "CXXFunctionalCastExpr",
            "CXXStaticCastExpr", "CStyleCastExpr", "MaterializeTemporaryExpr", "ConstantExpr")
BRACES = ("InitListExpr", "CXXParenListInitExpr")
# Nodes of which only the first child is written in the source.
FIRST_CHILD_ONLY = (*AWAITS, "CoroutineBodyStmt", "CoreturnStmt")
LEAVES = ("OpaqueValueExpr", "CXXMethodDecl", "CXXConstructorDecl", "CXXDestructorDecl",
          "CXXConversionDecl", "FunctionTemplateDecl")

# Matches every coroutine of the program: the instantiated ones as "code", and the templates as
# they are written as "template".
QUERY = """set output detailed-ast
set bind-root false
let coroutine functionDecl(isDefinition(), unless(isExpansionInSystemHeader()), \
hasBody(coroutineBodyStmt()))
let template decl(anyOf(functionTemplateDecl(), classTemplateDecl(), \
classTemplatePartialSpecializationDecl()))
match functionDecl(coroutine, \
anyOf(unless(hasAncestor(template)), isInstantiated())).bind("code")
match functionDecl(coroutine, hasAncestor(template), unless(isInstantiated())).bind("template")
"""


class Node:
    """A node of clang's syntax tree, as clang-query prints it."""

    def __init__(self, kind, text, place):
        self.kind, self.text, self.place = kind, text, place
        self.children = []

    @property
    def type(self):
        """The type without its aliases."""
        found = re.search(r"'([^']*)'(?::'([^']*)')?", self.text)
        return (found.group(2) or found.group(1)) if found else ""

    @property
    def scalar(self):
        return re.fullmatch(
            r"(?:const |volatile |unsigned |signed |long |std::)*"
            r"(?:bool|char\w*|wchar_t|short|int|long|float|double|nullptr_t|.*\*)"
            r"(?: ?const)?(?:\[\d+\])?", self.type) is not None

    @property
    def expression(self):
        return not self.kind.endswith(("Stmt", "Decl", "NULL>>>", "Attr", "Comment"))

    def inside(self, awaited=True):
        """This node and the nodes of its expression, without the bodies of lambdas."""
        yield self
        if not awaited and self.kind in AWAITS:
            return
        children = self.children
        if self.kind == "LambdaExpr":
            children = [child for child in children if child.expression]
        for child in children:
            yield from child.inside(awaited)

    def awaits(self):
        return any(node.kind in AWAITS for node in self.inside())

    def bare(self):
        """The expression within casts and parentheses."""
        node = self
        while node.kind in WRAPPERS and node.children:
            node = node.children[0]
        return node


LINE = re.compile(r"((?:[|` ][ -])*)(\S+)")
RANGE = re.compile(r" <((?:[^<>]|<[^<>]*>)*)>(?: (line:\d+:\d+|col:\d+|[^\s'<]+:\d+:\d+))?")
PLACE = re.compile(r"(?:col:(\d+)|line:(\d+):(\d+)|(.+):(\d+):(\d+))$")


def destroyed(text):
    """Maps each type of a variable or temporary to whether its destructor does something."""
    types = {}
    for kind, type_, alias, rest in re.findall(
            r"(CXXBindTemporaryExpr|VarDecl) 0x[^'\n]*'([^'\n]*)'(?::'([^'\n]*)')?(.*)", text):
        name = alias or type_
        types[name] = types.get(name) or kind != "VarDecl" or rest.endswith(" destroyed")
    return types


def trees(text):
    """The name and the tree of each match that clang-query printed."""
    roots, name, stack, file, line, leaf = [], None, [], "", 0, None
    for row in text.split("\n"):
        if row.startswith("Binding for"):
            name, stack, leaf = row.split('"')[1], [], None
            continue
        head = LINE.match(row)
        if name is None or not head:
            continue
        depth, kind = len(head.group(1)) // 2, head.group(2)
        if depth == 0 and stack:  # the empty line after a tree, or a summary
            name = None
            continue

        # clang prints a line or a file only where it changes.
        place = None
        if found := RANGE.search(row.split("'", 1)[0]):
            for part in [*found.group(1).split(", "), found.group(2) or ""]:
                if at := PLACE.match(part):
                    file = at.group(4) or file
                    line = int(at.group(5) or at.group(2) or line)
                    column = int(at.group(6) or at.group(3) or at.group(1))
                    place = place or (file, line, column)
        if leaf is not None:
            if depth > leaf:
                continue
            leaf = None

        del stack[depth:]
        node = Node(kind, row[head.end():], place)
        if stack:
            parent = stack[-1]
            if parent.kind == "CoreturnStmt" and parent.children[0:1] and (
                    parent.children[0].kind == "InitListExpr"):
                parent.children.clear()  # braces have a type only after a conversion
            if parent.kind in FIRST_CHILD_ONLY and parent.children:
                leaf = depth
                continue
            parent.children.append(node)
        else:
            roots.append((name, node))
        stack.append(node)
        if kind in LEAVES and depth > 0:
            leaf = depth
    return roots


class Coroutine:
    """The forms in one coroutine, as pairs of a location and a form's name."""

    def __init__(self, function, template, types):
        self.found, self.undecided = set(), set()
        self.template, self.types = template, types
        body = next(node for node in function.children if node.kind == "CoroutineBodyStmt")
        self.declares_something = self.declares(body)
        self.visit(body, function.place)

    def declares(self, node):
        """Whether the coroutine declares something. g++ 12 then lays the frame out correctly."""
        if node.kind == "LambdaExpr":
            return True
        if node.kind.endswith("Decl") and " implicit " not in node.text:
            return True
        return any(self.declares(child) for child in node.children)

    def report(self, node, form):
        self.found.add((node.place or self.place, form))

    def cannot_decide(self, node, what):
        self.undecided.add((node.place or self.place, what))

    def visit(self, node, place):
        """Goes through the statements; each expression below one is a full expression."""
        flags = node.text.split()
        condition = {
            "IfStmt": ("has_init" in flags) + ("has_var" in flags),
            "SwitchStmt": ("has_init" in flags) + ("has_var" in flags),
            "WhileStmt": int("has_var" in flags),
            "DoStmt": 1,
            "ForStmt": 2,
        }.get(node.kind)
        for index, child in enumerate(node.children):
            self.place = child.place or place
            if not child.expression:
                self.visit(child, self.place)
                continue
            if index == condition and child.awaits() and not self.declares_something:
                self.report(child, "condition")
            self.full_expression(child, node, index == condition)

    def full_expression(self, expression, owner, is_condition):
        for node in expression.inside():
            if node.kind == "StmtExpr":
                if any(n.kind in (*AWAITS, "CoreturnStmt") for n in node.inside()):
                    self.report(node, "statement")
        if not expression.awaits():
            return

        bare = expression.bare()
        made = bare.kind in (*BRACES, "LambdaExpr")
        if bare.kind in BRACES and len(bare.children) == 1:  # a copy
            made = bare.children[0].bare().type != bare.type.removeprefix("const ")
        if owner.kind == "VarDecl" and made and bare.awaits():
            if owner.text.endswith(" destroyed"):
                self.report(bare, "capture" if bare.kind == "LambdaExpr" else "member")
            elif self.template and bare.type in ("void", "<dependent type>", "NULL TYPE"):
                self.cannot_decide(bare, "an object in braces")

        # A loop's condition and the operand of co_return differ from other statements.
        right = owner.kind != "CoreturnStmt" and not (
            is_condition and owner.kind in ("WhileStmt", "DoStmt", "ForStmt"))
        right = right and not (owner.kind == "VarDecl" and owner.text.endswith(" destroyed"))
        self.walk(expression, None, owner, right)

    def owning(self, node):
        """Whether the destructor of the node's type does something, or None if unknown."""
        return False if node.scalar or node.type == "void" else self.types.get(node.type)

    def walk(self, node, parent, owner, right):
        """`right`: whether g++ 12 compiles a co_await in a branch correctly here."""
        place, self.place = self.place, node.place or self.place
        self.judge(node, parent, owner, right)
        right = right and self.passes(node, owner)
        for child in node.children:
            if node.kind == "CXXDefaultArgExpr" and child.expression:
                here, self.place = self.place, place  # the location of the call
                self.walk_default(child, node, owner)
                self.place = here
            elif child.expression or node.kind == "StmtExpr":
                self.walk(child, node, owner, right)
        self.place = place

    @staticmethod
    def passes(node, owner):
        """Whether a branch below the node is right, if a branch instead of the node would be."""
        if node.kind.endswith("CastExpr"):  # outside an initialiser, the cast must do nothing
            return owner.kind == "VarDecl" or node.text.endswith(
                ("<LValueToRValue>", "<NoOp>", "<ToVoid>"))
        if node.kind in ("UnaryOperator", "BinaryOperator"):
            # g++ 12 compiles `int n = 1 + (c ? co_await f() : 5)` correctly, but only by luck: not
            # with `==` instead of `+`, with a call instead of 1, or in an assignment.
            return re.search(r"'(?:!|=|&&|\|\|)'( |$)", node.text) is not None
        return node.kind in (*WRAPPERS, *BRACES, "ConditionalOperator", "BinaryConditionalOperator",
                             "CXXNewExpr", "LambdaExpr")

    def walk_default(self, node, parent, owner):
        for inner in node.inside():
            inner.place = None
        self.walk(node, parent, owner, False)

    def judge(self, node, parent, owner, right):
        children = node.children
        if node.kind == "CXXBindTemporaryExpr" and children:
            made = children[0].bare().kind
            if made == "LambdaExpr":
                self.report(node, "capture")
            elif made in BRACES:
                self.report(node, "member" if children[0].awaits() else "aggregate")
        elif node.kind == "CXXNewExpr":
            for child in children:
                if child.kind in BRACES and self.owning(child):
                    self.report(node, "member" if child.awaits() else "aggregate")
                elif child.kind in BRACES and self.owning(child) is None:
                    self.cannot_decide(node, UNKNOWN.format(child.type))
        elif node.kind == "CXXStdInitializerListExpr":
            elements = node.children[0].bare().children if node.children else []
            if owner.kind != "VarDecl" or "initializer_list<" not in owner.type:
                self.report(node, "list")
            elif not all(element.scalar for element in elements):
                self.report(node, "member")
        elif node.kind == "CXXThrowExpr" and children and node.awaits():
            thrown = children[0].bare()
            if thrown.kind == "CXXBindTemporaryExpr" or self.owning(thrown):
                self.report(node, "throw")
            elif thrown.kind in AWAITS and self.owning(thrown) is None:
                self.cannot_decide(node, UNKNOWN.format(thrown.type))
        elif node.kind in ("ConditionalOperator", "BinaryConditionalOperator"):
            self.judge_choice(node, right)
        elif node.kind == "BinaryOperator" and ("'&&'" in node.text or "'||'" in node.text):
            self.judge_branches(node, children[:1], children[1:], right)
        elif self.template:
            if node.kind == "LambdaExpr":
                if parent is None or parent.kind != "CXXBindTemporaryExpr":
                    self.judge_captures(node)
            elif node.kind in BRACES and node.type == "void":
                self.cannot_decide(node, "an object in braces")
            elif node.kind == "CXXUnresolvedConstructExpr" and "list" in node.text:
                self.cannot_decide(node, "an object in braces")

    def judge_captures(self, closure):
        """Reports a lambda with owning captures. In a template, clang may not know them."""
        record, body = closure.children[0], closure.children[-1]
        fields = [node for node in record.children if node.kind == "FieldDecl"]
        owning = [self.owning(field) for field in fields if not field.type.endswith("&")]
        implicit = not fields and any("refers_to_enclosing" in n.text for n in body.inside())
        if any(owning):
            self.report(closure, "capture")
        elif None in owning or implicit:
            self.cannot_decide(closure, "a lambda's captures")

    def judge_choice(self, node, right):
        condition, branches = node.children[:1], node.children[1:]
        if " lvalue" not in node.text and " xvalue" not in node.text:
            bare = [branch.bare() for branch in branches]
            owning = self.owning(node)
            if owning or any(branch.kind == "CXXBindTemporaryExpr" for branch in bare):
                self.report(node, "choice")
                return
            if owning is None and right and any(branch.kind in AWAITS for branch in bare):
                self.cannot_decide(node, UNKNOWN.format(node.type))
                return
        self.judge_branches(node, condition, branches, right)

    def judge_branches(self, node, condition, branches, right):
        if not any(branch.awaits() for branch in branches):
            return
        if not right:
            self.report(node, "branch")
        elif any(inner.kind == "CXXBindTemporaryExpr" for part in condition
                 for inner in part.inside(awaited=False)):
            self.report(node, "temporary")


class Unreadable(Exception):
    """A file that clang cannot read."""


def read(program, directory, path, flags):
    """The findings in a file and the headers it includes."""
    with tempfile.NamedTemporaryFile("w", suffix=".query") as query:
        query.write(QUERY)
        query.flush()
        done = subprocess.run(
            [program, "-f", query.name, str(path), "--", "-w", "-ferror-limit=1", *flags],
            cwd=directory, capture_output=True, text=True, errors="replace", check=False)
    error = re.search(r"^.*(?:fatal )?error: .*$", done.stderr, re.M)
    if done.returncode or error:
        raise Unreadable(error.group() if error else done.stderr.strip() or f"{program} failed")

    def absolute(place):
        return (os.path.realpath(os.path.join(directory, place[0])), *place[1:])

    types = destroyed(done.stdout.split('Binding for "template"')[0])
    found, undecided, decided = set(), set(), set()
    for name, tree in trees(done.stdout):
        coroutine = Coroutine(tree, name == "template", types)
        found |= {(absolute(at), form) for at, form in coroutine.found}
        if name == "code":
            decided.add(absolute(tree.place))
        undecided |= {(absolute(at), what, absolute(tree.place))
                      for at, what in coroutine.undecided}
    return found, undecided, decided


# The flags of a g++ command that change the meaning of the source. clang may not know others.
WITH_VALUE = ("-I", "-D", "-U", "-isystem", "-iquote", "-idirafter", "-include", "-imacros")
ALONE = re.compile(r"--?std=.*|--sysroot=.*|-nostdinc.*|-m(?:32|64)|-pthread|-fopenmp|"
                   r"-fno-exceptions|-fno-rtti|-f(?:un)?signed-char")


def kept(arguments):
    """The flags of a command that change the meaning of the source."""
    flags, rest = [], iter(arguments)
    for argument in rest:
        if ALONE.fullmatch(argument) or argument.startswith(WITH_VALUE):
            flags.append(argument)
        if argument in WITH_VALUE:
            flags.append(next(rest, ""))
    return flags


AWAIT = re.compile(r"\bco_(?:await|yield)\b")
INCLUDE = re.compile(r'^\s*#\s*include\s*(?:"([^"]+)"|<([^>]+)>)', re.M)


def project_headers(path, directory, flags, seen):
    """Adds the file and its headers, except system headers, to `seen`."""
    path = os.path.realpath(path)
    if path in seen:
        return
    text = pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    seen[path] = AWAIT.search(text) is not None
    folders = [os.path.join(directory, flag[2:]) for flag in flags if re.match(r"-I.", flag)]
    for quoted, angled in INCLUDE.findall(text):
        for folder in ([os.path.dirname(path)] if quoted else []) + folders:
            header = os.path.join(folder, quoted or angled)
            if os.path.isfile(header):
                project_headers(header, directory, flags, seen)
                break


def listed(build, files):
    """The commands of the files to read: the files that await, and one including file for each
    header that awaits."""
    path = pathlib.Path(build) / "compile_commands.json"
    wanted = {os.path.realpath(file) for file in files}
    commands, others, known, matched, covered = [], [], set(), set(), set()
    def chosen(file):
        return {name for name in wanted if file == name or file.startswith(name + os.sep)}

    for entry in json.loads(path.read_text(encoding="utf-8")):
        file = os.path.realpath(os.path.join(entry["directory"], entry["file"]))
        arguments = entry.get("arguments") or shlex.split(entry["command"])
        if file in known or not file.endswith((".cc", ".cpp", ".cxx", ".C", ".c++")):
            continue
        known.add(file)
        matched |= chosen(file)
        if wanted and not chosen(file) or not os.path.exists(file):
            continue
        command = entry["directory"], file, kept(arguments[1:])
        seen = {}
        project_headers(file, entry["directory"], command[2], seen)
        awaiting = {header for header, awaits in seen.items() if awaits}
        if file in awaiting:
            commands.append(command)
            covered |= awaiting
        elif awaiting:
            others.append((command, awaiting))
    for command, awaiting in others:
        if not awaiting <= covered:
            commands.append(command)
            covered |= awaiting
    return commands, sorted(wanted - matched)


def blocks(path, folder):
    """The C++ blocks of a Markdown file, as files with the page's line numbers."""
    text = pathlib.Path(path).read_text(encoding="utf-8")
    for match in re.finditer(r"^```(?:cpp|c\+\+|cc)\n(.*?)^```", text, re.S | re.M):
        line = text.count("\n", 0, match.start(1)) + 1
        block = pathlib.Path(folder) / f"{pathlib.Path(path).stem}-{line}.cc"
        block.write_text(f'#line {line} "{os.path.realpath(path)}"\n' + match.group(1),
                         encoding="utf-8")
        yield str(block)


def named(files, flags, folder):
    """The commands of the files named on the command line."""
    if not flags:
        asked = shutil.which("pkg-config") and subprocess.run(
            ["pkg-config", "--cflags", "eddy"], capture_output=True, text=True, check=False)
        flags = ["-std=c++23", *(shlex.split(asked.stdout) if asked else [])]
    for file in files:
        sources = blocks(file, folder) if file.endswith(".md") else [file]
        for source in sources:
            yield os.getcwd(), os.path.realpath(source), ["-xc++", *flags]


def main(arguments):
    flags = []
    if "--" in arguments:
        flags = arguments[arguments.index("--") + 1:]
        arguments = arguments[:arguments.index("--")]
    parser = argparse.ArgumentParser(
        prog="eddy-forms", usage="eddy-forms -p BUILD [FILE...] | eddy-forms FILE... [-- FLAGS...]",
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-p", metavar="BUILD", help="the directory of compile_commands.json")
    parser.add_argument("files", metavar="FILE", nargs="*")
    options = parser.parse_args(arguments)
    if not options.p and not options.files:
        parser.error("give files, or a build directory with -p")
    if options.p and not os.path.isfile(os.path.join(options.p, "compile_commands.json")):
        parser.error(f"{options.p} has no compile_commands.json; meson writes one, and cmake with "
                     "CMAKE_EXPORT_COMPILE_COMMANDS")

    program = shutil.which(os.environ.get("CLANG_QUERY", "clang-query-19"))
    if not program:
        print("eddy-forms: there is no clang-query-19; install Debian's clang-tools-19")
        return 77

    broken = unread = 0
    with tempfile.TemporaryDirectory() as folder:
        if options.p:
            commands, unknown = listed(options.p, options.files)
            for file in unknown:
                print(f"{file}: cannot decide: {options.p}/compile_commands.json does not list it")
                broken += 1
        else:
            commands = list(named(options.files, flags, folder))
        found, undecided, decided = set(), set(), set()
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            jobs = [(c[1], pool.submit(read, program, *c)) for c in commands]
            for file, job in jobs:
                try:
                    some = job.result()
                except Unreadable as why:
                    print(f"{os.path.relpath(file)}: cannot decide: clang cannot read it: {why}")
                    unread += 1
                    continue
                found |= some[0]
                undecided |= some[1]
                decided |= some[2]
    # An expression undecided in a template is decided if the template was instantiated.
    undecided = {(at, what) for at, what, template in undecided
                 if template not in decided or what.startswith("this")}
    return report(found, undecided, len(commands) - unread, broken + unread)


def report(found, undecided, files, broken):
    def place(at):
        return f"{os.path.relpath(at[0])}:{at[1]}:{at[2]}"

    for at, form in sorted(found):
        print(f"{place(at)}: {form}: {FORMS[form]}")
    for at, what in sorted(undecided):
        print(f"{place(at)}: cannot decide on {what}")
    print(f"files read: {files}, forms that g++ 12 compiles wrongly: {len(found)}, "
          f"undecided: {len(undecided)}, unreadable files: {broken}")
    return 2 if broken else 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
