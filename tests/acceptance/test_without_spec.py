"""Ops that have no spec: inputs given on the command line, guessed, or written into a spec."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

OPS = """
import tensorflow as tf

@tf.custom_gradient
def square(x):
    return x * x, lambda u: 2.0 * u * x

@tf.custom_gradient
def wrong(x):
    return x * x, lambda u: 3.0 * u * x

@tf.custom_gradient
def rounded(x):
    return tf.round(x), lambda u: u

@tf.custom_gradient
def product(a, b):
    return a @ b, lambda u: (u @ tf.transpose(b), tf.transpose(a) @ u)

@tf.custom_gradient
def take(table, ids):
    def grad(u):
        return tf.tensor_scatter_nd_add(tf.zeros_like(table), ids[:, None], u), None
    return tf.gather(table, ids), grad

def make(alpha):
    @tf.custom_gradient
    def scaled(x):
        return alpha * x, lambda u: alpha * u
    return scaled

@tf.custom_gradient
def log(x):
    return tf.math.log(x), lambda u: u / x

@tf.custom_gradient
def cross_entropy(logits, labels):
    p = tf.nn.softmax(logits)
    return tf.nn.softmax_cross_entropy_with_logits(labels, logits), lambda u: ((p - labels) * u[:, None], None)

@tf.custom_gradient
def summed(x, axis):
    return tf.reduce_sum(x, axis), lambda u: (tf.expand_dims(u, axis) * tf.ones_like(x), None)

@tf.custom_gradient
def convolved(x, w):
    def grad(u):
        of_x = tf.nn.conv2d_transpose(u, w, tf.shape(x), 1, "SAME")
        return of_x, tf.compat.v1.nn.conv2d_backprop_filter(x, tf.shape(w), u, [1, 1, 1, 1], "SAME")
    return tf.nn.conv2d(x, w, 1, "SAME"), grad

@tf.custom_gradient
def only_1001(x):
    return tf.reshape(x, [7, 11, 13]), lambda u: tf.reshape(u, tf.shape(x))

class Gate(tf.keras.layers.Layer):
    def call(self, x):
        @tf.custom_gradient
        def gate(x):
            return tf.sin(x), lambda u: u * tf.cos(x)
        return gate(x)

class Wide(tf.keras.layers.Layer):
    def __init__(self, units):
        super().__init__()
        self.units = units

    def call(self, x):
        return x * self.units
"""


@pytest.fixture
def ops(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ops.py").write_text(OPS)
    return tmp_path


def test_a_file_is_checked_with_guessed_inputs(ops, run_cli):
    told = run_cli("run", "ops.py", "--format", "json", "-j", "2")
    cases = {case["case"]: case for case in told.report["cases"]}
    status = {name: case["status"] for name, case in cases.items()}
    assert status == {
        **dict.fromkeys(("square", "product", "take", "make", "log", "cross_entropy", "summed"), "passed"),
        **dict.fromkeys(("convolved", "Gate"), "passed"),
        "wrong": "failed",
        **dict.fromkeys(("rounded", "only_1001", "Wide"), "skipped"),
    }
    assert told.code == 1
    assert cases["product"]["guessed"]["inputs"] == {"a": {"shape": [4, 3]}, "b": {"shape": [3, 5]}}
    assert cases["take"]["guessed"]["inputs"]["ids"]["dtype"] == "int32"
    assert cases["make"]["guessed"]["build"] == {"alpha": 0.7}
    assert cases["rounded"]["reason"].startswith("confirm: surrogate")
    assert cases["only_1001"]["reason"].startswith("needs an input")
    assert "gradcheck run ops.py::only_1001 --input x=SHAPE" in cases["only_1001"]["reason"]
    assert cases["Wide"]["reason"].startswith("needs `build`")
    assert cases["square"]["line"] == 5


def test_inputs_are_given_on_the_command_line(ops, run_cli):
    told = run_cli("run", "ops.py::only_1001", "--input", "x=1001")
    assert told.code == 0
    assert "PASS  ops.py::only_1001" in told.out
    told = run_cli("run", "ops.py::take", "--input", "ids=5:int64")
    assert "PASS  ops.py::take" in told.out
    told = run_cli("run", "ops.py::wrong", "--input", "x=[]")
    assert told.code == 1
    assert "rerun: gradcheck run ops.py::wrong --seed 0 --input 'x=[]'" in told.out


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["gone.py"], 2, "there is no file 'gone.py'"),
        (["ops.py", "--input", "x=3"], 2, "name it as FILE.py::NAME"),
        (["ops.py::square", "--input", "x"], 2, "must be NAME=SHAPE[:DTYPE], for example x=4,3"),
        (["ops.py::square", "--input", "x=3:flaot32"], 2, "did you mean `float32`?"),
        (["ops.py::squar", "--input", "x=3"], 1, "did you mean `square`?"),
        (["ops.py::a-b"], 2, "asked for as FILE.py::NAME"),
        (["empty.py"], 5, "has no custom gradient and no layer"),
        (["bad.py"], 2, "bad.py:1: not valid Python"),
        (["spec.yaml", "--input", "x=3"], 2, "give FILE.py::NAME"),
    ],
)
def test_what_is_wrong_with_a_target_is_said(ops, run_cli, args, code, said):
    (ops / "empty.py").write_text("x = 1\n")
    (ops / "bad.py").write_text("def f(:\n")
    (ops / "spec.yaml").write_text("module: ops.py\ncases: {square: {inputs: {x: 1.0}}}\n")
    told = run_cli("run", *args)
    assert told.code == code
    assert said in " ".join((told.out + told.err).split())
    assert "Traceback" not in told.out + told.err


def test_a_spec_and_a_test_are_written_for_ops_that_exist(ops, run_cli):
    told = run_cli("scaffold", "--from", "ops.py", "--dir", "specs")
    assert told.code == 0
    assert "rounded: confirm: surrogate" in told.out
    text = (ops / "specs" / "ops.yaml").read_text()
    cases = yaml.safe_load(text)["cases"]
    assert cases["product"]["inputs"] == {"a": {"shape": [4, 3]}, "b": {"shape": [3, 5]}}
    assert "# surrogate: identity" in text
    assert cases["only_1001"]["skip"].startswith("needs an input")
    told = run_cli("run", "specs", "--format", "json", "-j", "2")
    assert [c["case"] for c in told.report["cases"] if c["status"] == "failed"] == ["wrong"]
    assert run_cli("scaffold", "--from", "ops.py", "--dir", "specs").code == 2
    one = run_cli("scaffold", "--from", "ops.py::square", "--dir", "one")
    assert list(yaml.safe_load((ops / "one" / "ops.yaml").read_text())["cases"]) == ["square"]
    assert "python -m pytest one/test_ops.py" in one.out
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "one/test_ops.py"], cwd=ops, capture_output=True, text=True, check=False
    )
    assert "1 passed" in done.stdout


SPEC = """# ours
module: ops.py
cases:
  wrong:   # known
    inputs: {x: {shape: [3]}}
  square: {inputs: {x: {shape: [3]}}}
"""


def test_todays_errors_are_accepted_until_they_are_gone(ops, run_cli):
    spec = ops / "s.yaml"
    spec.write_text(SPEC)
    told = run_cli("run", "s.yaml", "--accept")
    assert told.code == 0
    assert "accepted 1 case in s.yaml" in told.err
    text = spec.read_text()
    assert "    expect: [gradient-mismatch/constant-factor]\n" in text
    assert "  wrong:   # known\n" in text
    assert 'reason: "accepted on ' in text
    assert run_cli("run", "s.yaml").code == 0
    (ops / "ops.py").write_text(OPS.replace("3.0 * u * x", "2.0 * u * x"))
    told = run_cli("run", "s.yaml")
    assert told.code == 1
    said = " ".join(told.out.split())
    assert "delete it from `expect` at s.yaml:5" in said


def test_a_spec_with_errors_stops_the_others_unless_they_are_asked_for(ops, run_cli):
    (ops / "a.yaml").write_text("module: ops.py\ncases: {square: {inputs: {x: {shap: [3]}}}}\n")
    (ops / "b.yaml").write_text("module: ops.py\ncases: {square: {inputs: {x: {shape: [3]}}}}\n")
    told = run_cli("run", "a.yaml", "b.yaml")
    assert told.code == 2
    assert "PASS" not in told.out
    told = run_cli("run", "a.yaml", "b.yaml", "--continue-on-spec-errors")
    assert told.code == 2
    assert "PASS  b.yaml::square" in told.out
    assert "did you mean `shape`" in told.err
    assert "1 spec with errors left out" in told.err


def test_a_folder_may_hold_yaml_of_other_tools_and_virtual_environments(ops, run_cli):
    (ops / "mkdocs.yml").write_text("site_name: x\nextra: !!python/name:material.x\n")
    (ops / "chart.yaml").write_text("{{- if .Values.x }}\nkind: List\n{{- end }}\n")
    (ops / "b.yaml").write_text("module: ops.py\ncases: {square: {inputs: {x: {shape: [3]}}}}\n")
    (ops / "env").mkdir()
    (ops / "env" / "pyvenv.cfg").write_text("")
    (ops / "env" / "c.yaml").write_text("module: gone.py\ncases: {}\n")
    told = run_cli("run", "-v")
    assert told.code == 0
    assert "2 YAML files without `module` or `cases` left out" in told.err
    assert "1 passed" in told.out


def test_saved_failures_are_not_searched(ops, run_cli):
    (ops / "b.yaml").write_text("module: ops.py\ncases: {wrong: {inputs: {x: {shape: [3]}}}}\n")
    assert run_cli("run", "b.yaml", "--save-failures", "saved").code == 1
    assert run_cli("list", ".").out.split() == ["b.yaml::wrong"]
    (saved,) = (ops / "saved").glob("*/spec.yaml")
    assert run_cli("run", saved).code == 1


def test_a_factory_makes_the_op_and_its_inputs(ops, run_cli):
    (ops / "cases.py").write_text(
        "import tensorflow as tf\nimport ops\n\n\nclass Solver:\n    power = 2\n\n\n"
        "def make_case():\n    solver = Solver()\n\n"
        "    def op(x, solver):\n        return ops.square(x) * solver.power\n\n"
        "    return op, (tf.constant([1.0, 2.0]), solver)\n\n\n"
        "def only_op():\n    return ops.square\n\n\ndef broken():\n    return 3\n"
    )
    (ops / "s.yaml").write_text(
        "module: cases.py\ncases:\n  with inputs: {factory: make_case}\n".replace("with inputs", "with_inputs")
        + "  alone: {factory: only_op, inputs: {x: {shape: [2]}}}\n"
        "  broken: {factory: broken}\n"
        "  other: {module: ops.py, op: square, inputs: {x: {shape: [2]}}}\n"
    )
    told = run_cli("run", "s.yaml", "--format", "json")
    assert {c["case"]: c["status"] for c in told.report["cases"]} == {
        "with_inputs": "passed",
        "alone": "passed",
        "broken": "errored",
        "other": "passed",
    }
    (finding,) = next(c["findings"] for c in told.report["cases"] if c["case"] == "broken")
    assert "must return the op or (op, inputs), it returned int" in finding["message"]


def test_a_method_of_the_built_layer_is_its_surrogate(ops, run_cli):
    (ops / "q.py").write_text(
        "import tensorflow as tf\n\n\n"
        "class Quantizer(tf.keras.layers.Layer):\n"
        "    def __init__(self, factor):\n        super().__init__()\n        self.factor = factor\n\n"
        "    def smooth(self, x):\n        return self.factor * x\n\n"
        "    def call(self, x):\n"
        "        @tf.custom_gradient\n"
        "        def step(x):\n"
        "            return tf.round(self.factor * x), lambda u: u * self.factor\n\n"
        "        return step(x)\n"
    )
    (ops / "s.yaml").write_text(
        "module: q.py\ncases:\n  Quantizer:\n    build: {factor: 3.0}\n    surrogate: Quantizer.smooth\n"
        "    inputs: {x: {shape: [4]}}\n"
    )
    told = run_cli("run", "s.yaml")
    assert told.code == 0, told.out


def test_a_dotted_module_is_found_from_the_root_of_the_project(ops, run_cli, monkeypatch):
    (ops / "pyproject.toml").write_text("")
    package = ops / "mine" / "deep"
    package.mkdir(parents=True)
    (ops / "mine" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("from ops import square\n")
    (package / "s.yaml").write_text("module: mine.deep\ncases: {square: {inputs: {x: {shape: [3]}}}}\n")
    monkeypatch.chdir(package)
    assert run_cli("run", "s.yaml").code == 0


def test_a_scan_lists_what_is_covered_and_fails_under_a_share(ops, run_cli):
    (ops / "s.yaml").write_text("module: ops.py\ncases: {square: {inputs: {x: {shape: [3]}}}}\n")
    told = run_cli("scan", ".")
    assert told.code == 0
    assert "s.yaml::square" in told.out
    assert "make.<locals>.scaled" in told.out
    assert "not covered" in told.out
    assert run_cli("scan", ".", "--fail-under", "50").code == 1
    assert run_cli("scan", ".", "--fail-under", "5").code == 0
    assert '"covered": "s.yaml::square"' in run_cli("scan", ".", "--json").out


def test_reports_list_what_no_case_covers(ops, run_cli, monkeypatch):
    (ops / "s.yaml").write_text("module: ops.py\ncases: {square: {inputs: {x: {shape: [3]}}}}\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(ops / "summary.md"))
    assert run_cli("run", "s.yaml", "--format", "github", "--html", "page.html").code == 0
    summary = (ops / "summary.md").read_text()
    assert "custom gradients in the checked modules, 8 % covered" in summary
    assert "| `ops.py:9` | `wrong` | top level |" in summary
    assert "`square`" not in summary
    page = (ops / "page.html").read_text()
    assert "s.yaml::square" in page
    assert "make.&lt;locals&gt;.scaled" in page


def test_an_op_that_was_named_and_could_not_be_called_is_no_success(run_cli, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ops.py").write_text(
        "import tensorflow as tf\n\n\n@tf.custom_gradient\ndef f(x):\n    return x * x, lambda u: u * 2.0 * x\n"
    )
    told = run_cli("run", "ops.py::f", "--input", "y=3")
    assert told.code == 2
    assert "ops.py::f was not checked" in told.err
    assert run_cli("run", "ops.py::f", "--input", "x=3").code == 0


HIDDEN = """import tensorflow as tf

if tf.__version__:
    @tf.custom_gradient
    def below_a_condition(x):
        return x * x, lambda u: 3.0 * u * x

class Ops:
    @staticmethod
    @tf.custom_gradient
    def sine(x):
        return tf.sin(x), lambda u: u * tf.sin(x)

@tf.RegisterGradient("OfNoOp")
def of_an_op(op, u):
    return u

@tf.custom_gradient
def never_finished(x):
    def grad(u):
        raise NotImplementedError("the gradient")
    return x * x, grad

TABLE = {"double": tf.custom_gradient(lambda x: (2.0 * x, lambda u: 2.0 * u))}

class Filter(tf.keras.layers.Layer):
    def build(self, shape):
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], 2), name="kernel")

    def call(self, x):
        @tf.custom_gradient
        def filtered(x, w):
            def grad(u):
                of_x = tf.nn.conv2d_transpose(u, w, tf.shape(x), 1, "SAME")
                return of_x, tf.compat.v1.nn.conv2d_backprop_filter(x, tf.shape(w), u, [1, 1, 1, 1], "SAME")
            return tf.nn.conv2d(x, w, 1, "SAME"), grad
        return filtered(x, tf.convert_to_tensor(self.kernel))
"""


def test_no_custom_gradient_of_a_file_is_left_out_in_silence(ops, run_cli):
    (ops / "hidden.py").write_text(HIDDEN)
    told = run_cli("run", "hidden.py", "--format", "json")
    cases = {case["case"]: case for case in told.report["cases"]}
    assert {name: case["status"] for name, case in cases.items()} == {
        "below_a_condition": "failed",
        "Ops.sine": "failed",
        "of_an_op": "skipped",
        "never_finished": "errored",
        "TABLE": "skipped",
        "Filter": "passed",
    }
    assert "registered as the gradient of an op" in cases["of_an_op"]["reason"]
    assert "is of type dict" in cases["TABLE"]["reason"]
    assert [finding["code"] for finding in cases["never_finished"]["findings"]] == ["gradient-error"]


SURROUNDINGS = {
    "numerics": (
        "import tensorflow as tf\ntf.debugging.enable_check_numerics()\n"
        "@tf.custom_gradient\ndef square(x):\n    return x * x, lambda u: 2.0 * u * x\n",
        ("passed", None),
    ),
    "older": (
        "import tensorflow.compat.v1 as tf\n"
        "@tf.custom_gradient\ndef square(x):\n    def grad(u):\n        return 3.0 * u * x\n    return x * x, grad\n",
        ("failed", "return 3.0 * u * x"),
    ),
    "inner": (
        "from tensorflow.python.ops.custom_gradient import custom_gradient\n"
        "@custom_gradient\ndef square(x):\n    def grad(u):\n        return 3.0 * u * x\n    return x * x, grad\n",
        ("failed", "return 3.0 * u * x"),
    ),
    "training": (
        "import tensorflow as tf\nclass Doubled(tf.keras.layers.Layer):\n"
        "    def call(self, x, training=False):\n        return self.doubled(x) if training else x\n"
        "    @staticmethod\n    @tf.custom_gradient\n"
        "    def doubled(x):\n        def grad(u):\n            return u\n        return 2.0 * x, grad\n",
        ("failed", "return u"),
    ),
    "mixture": (
        "import tensorflow as tf\ndef mixed(share):\n    @tf.custom_gradient\n    def op(x):\n        def grad(u):\n"
        "            return (1.0 - share) * u\n        return share * x, grad\n    return op\n",
        ("failed", "return (1.0 - share) * u"),
    ),
}


@pytest.mark.parametrize("name", SURROUNDINGS)
def test_an_op_is_judged_whatever_surrounds_it(ops, run_cli, name):
    text, wanted = SURROUNDINGS[name]
    (ops / f"{name}.py").write_text(text)
    (case,) = run_cli("run", f"{name}.py", "--format", "json").report["cases"]
    lines = [f["source"]["text"] for f in case["findings"] if f["level"] == "error"]
    assert (case["status"], lines[0] if lines else None) == wanted


def test_a_file_in_folders_without_an_init_may_import_from_beside_it(ops, run_cli):
    folder = ops / "name" / "space"
    folder.mkdir(parents=True)
    (folder / "base.py").write_text("import tensorflow as tf\ndef own(f):\n    return tf.custom_gradient(f)\n")
    (folder / "ops.py").write_text(
        "from .base import own\n@own\ndef square(x):\n    return x * x, lambda u: 2.0 * u * x\n"
    )
    told = run_cli("run", "name/space/ops.py")
    assert told.code == 0
    assert "PASS  name/space/ops.py::square" in told.out
