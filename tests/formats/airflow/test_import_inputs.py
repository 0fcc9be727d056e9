"""Values that a DAG file reads from outside on import: they become parameters, or are losses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sagebridge import write
from sagebridge.assessment import grade
from sagebridge.errors import SourceError
from sagebridge.formats.airflow.reader import read_files
from sagebridge.formats.python.file_readings import FileReading
from sagebridge.model.code_steps import PythonStep
from sagebridge.model.expressions import Get, Member
from sagebridge.model.losses import counted
from sagebridge.model.pipeline import Step
from sagebridge.model.values import ABSENT

pytestmark = pytest.mark.airflow

IMPORTS = """\
import os, platform, random, secrets, socket, tempfile, time, uuid
from airflow.sdk import DAG, Connection, Variable; from datetime import *; import pendulum, time
from sagebridge_operators.airflow import ModelOperator

"""
DAG = """
with DAG("one", schedule=None):
    ModelOperator(task_id="A", arguments={"Environment": {"V": VALUE}})
"""


def read_sources(folder: Path, sources: dict[str, str]) -> dict[str, FileReading | str]:
    """The only DAG of each file, or its error without the name of the file."""
    files = {name: folder / f"{number}.py" for number, name in enumerate(sources)}
    for name, file in files.items():
        file.write_text(sources[name])
    outcomes = zip(files.items(), read_files(list(files.values())), strict=True)
    return {
        name: str(outcome).removeprefix(str(file))
        if isinstance(outcome, SourceError)
        else outcome[0]
        for (name, file), outcome in outcomes
    }


def value_of(reading: FileReading | str) -> Any:
    assert isinstance(reading, FileReading), reading
    step = json.loads(write(reading.pipeline, "sagemaker").text)["Steps"][0]
    return step["Arguments"]["Environment"]["V"]


VARYING = {
    "datetime.now().strftime('%d')": "datetime.now()",
    "datetime.utcnow().isoformat()": "datetime.utcnow()",
    "datetime.today().isoformat()": "date.today()",
    "str(date.today())": "date.today()",
    "str(time.time())": "time.time()",
    "str(time.time_ns())": "time.time_ns()",
    "time.strftime('%A')": "time.strftime()",
    "time.ctime()": "time.ctime()",
    "str(time.localtime().tm_min)": "time.localtime()",
    "pendulum.now().to_date_string()": "pendulum.now()",
    "uuid.uuid4().hex": "uuid.uuid4()",
    "str(uuid.uuid1())": "uuid.uuid1()",
    "str(random.randint(0, 10**9))": "random.randint()",
    "random.choice(['small', 'large'])": "random.choice()",
    "str(random.Random().getrandbits(64))": "random.Random()",
    "secrets.token_hex(8)": "secrets.token_hex()",
    "os.urandom(8).hex()": "os.urandom()",
    "str(os.getpid())": "the process id",
    "socket.gethostname()": "the host name",
    "platform.node()": "the host name",
}
CONSTANT = {
    "clock only for the start": ("'x'", ", start_date=datetime.now()"),
    "seeded random numbers": ("str((random.seed(1), random.random())[1])", ""),
    "unused variable": ("(Variable.get('unused', 'd'), 'x')[1]", ""),
    "variable that the file sets": (
        "(os.environ.__setitem__('OWN_X', 'x'), os.environ['OWN_X'])[1]",
        "",
    ),
    "date for the start": (
        "'x'",
        ", start_date=datetime.fromisoformat(Variable.get('start', '2024-01-01'))",
    ),
    "other environment": ("(dict(os.environ), 'x')[1]", ""),
}


@pytest.fixture(scope="module")
def varying(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileReading | str]:
    sources = {code: f"{IMPORTS}VALUE = 's3://b/x-' + {code}\n{DAG}" for code in VARYING}
    for name, (code, arguments) in CONSTANT.items():
        dag = DAG.replace(", schedule=None", f"{arguments}, schedule=None")
        sources[name] = f"{IMPORTS}VALUE = {code}\n{dag}"
    return read_sources(tmp_path_factory.mktemp("varying"), sources)


@pytest.mark.parametrize("code", VARYING)
def test_value_that_differs_on_each_import_becomes_a_parameter(
    code: str, varying: dict[str, FileReading | str]
) -> None:
    reading = varying[code]
    assert isinstance(reading, FileReading), reading
    (parameter,) = reading.pipeline.declared
    if VARYING[code].endswith("()"):
        assert parameter.name == "value_of_line_5"
    assert parameter.default is ABSENT
    values = ["s3://b/x-", {"Get": f"Parameters.{parameter.name}"}]
    assert value_of(reading) == {"Std:Join": {"On": "", "Values": values}}
    (loss,) = counted(reading.losses)
    assert loss.place.endswith(".py:5")
    assert loss.what.startswith(f"{VARYING[code]}, read on import, becomes the parameter")
    assert grade(reading.losses) == "changed"


@pytest.mark.parametrize("name", CONSTANT)
def test_input_without_effect_is_not_reported(
    name: str, varying: dict[str, FileReading | str]
) -> None:
    reading = varying[name]
    assert isinstance(reading, FileReading), reading
    assert isinstance(value_of(reading), str)
    assert counted(reading.losses) == ()
    assert reading.pipeline.declared == ()


NAMED = {
    "default": "VALUE = f\"s3://{Variable.get('bucket', 'dev')}/x\"",
    "default_var": "from airflow.models import Variable\n"
    "VALUE = f\"s3://{Variable.get('bucket', default_var='dev')}/x\"",
    "set": "VALUE = f\"s3://{Variable.get('set_here', 'dev')}/x\"",
    "environment": "VALUE = f\"s3://{os.environ.get('MY_BUCKET', 'dev')}/x\"",
    "getenv": "VALUE = f\"s3://{os.getenv('MY_BUCKET', 'dev')}/x\"",
    "number": "VALUE = int(Variable.get('count', '3'))",
    "json": "VALUE = Variable.get('cfg', {'a': ['k-1', 2]}, deserialize_json=True)['a'][0]",
    "caught": "try:\n    VALUE = Variable.get('x')\nexcept Exception:\n    VALUE = 'fallback'",
    "twice": "VALUE = Variable.get('a', 'p') + '/' + os.getenv('MY_B', 'q') + '/p'",
    "branch": "VALUE = 'big' if Variable.get('env', 'dev') == 'prod' else 'small'",
    "step": "VALUE = 'x'\nSIZE = Variable.get('env', 'dev')",
    "name": "VALUE = 'x'\nNAME = Variable.get('env', 'dev')",
    "missing variable": "VALUE = Variable.get('my_bucket')",
    "missing environment": "VALUE = os.environ['MY_BUCKET']",
    "missing connection": "VALUE = Connection.get('ml_aws').host",
}


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileReading | str]:
    sources = {name: f"{IMPORTS}{code}\n{DAG}" for name, code in NAMED.items()}
    sources["step"] = sources["step"].replace('task_id="A"', 'task_id=f"A-{SIZE}"')
    sources["name"] = sources["name"].replace('"one"', "NAME")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_VAR_SET_HERE", "prod")
        return read_sources(tmp_path_factory.mktemp("named"), sources)


@pytest.mark.parametrize(
    ("case", "name", "default"),
    [
        ("default", "bucket", "dev"),
        ("default_var", "bucket", "dev"),
        ("set", "set_here", "prod"),
        ("environment", "MY_BUCKET", "dev"),
        ("getenv", "MY_BUCKET", "dev"),
    ],
)
def test_setting_becomes_a_parameter_with_its_default(
    case: str, name: str, default: str, named: dict[str, FileReading | str]
) -> None:
    reading = named[case]
    values = ["s3://", {"Get": f"Parameters.{name}"}, "/x"]
    assert value_of(reading) == {"Std:Join": {"On": "", "Values": values}}
    assert isinstance(reading, FileReading)
    (parameter,) = reading.pipeline.declared
    assert (parameter.name, parameter.default) == (name, default)
    (loss,) = counted(reading.losses)
    code = "variable" if "bucket" in NAMED[case] or case == "set" else "import-input"
    assert (loss.code, loss.severity) == (code, "changed")
    assert "its value is the default" in loss.what
    assert default not in loss.what


def test_number_from_a_setting_is_a_parameter_of_its_type(
    named: dict[str, FileReading | str],
) -> None:
    reading = named["number"]
    assert value_of(reading) == {"Get": "Parameters.count"}
    assert isinstance(reading, FileReading)
    (parameter,) = reading.pipeline.declared
    assert (parameter.type, parameter.default) == ("Integer", 3)


def test_part_of_a_json_setting_is_a_parameter(named: dict[str, FileReading | str]) -> None:
    reading = named["json"]
    assert value_of(reading) == {"Get": "Parameters.cfg"}
    assert isinstance(reading, FileReading)
    assert [one.default for one in reading.pipeline.declared] == ["k-1"]


def test_setting_that_a_file_can_do_without_is_a_parameter(
    named: dict[str, FileReading | str],
) -> None:
    assert value_of(named["caught"]) == {"Get": "Parameters.x"}


def test_string_made_of_two_settings_has_two_parameters(
    named: dict[str, FileReading | str],
) -> None:
    values = [{"Get": "Parameters.a"}, "/", {"Get": "Parameters.MY_B"}, "/p"]
    assert value_of(named["twice"]) == {"Std:Join": {"On": "", "Values": values}}


@pytest.mark.parametrize(
    ("case", "place"),
    [("step", "/Steps/0/Name"), ("name", "the name of the pipeline")],
)
def test_setting_where_no_parameter_is_possible_is_a_loss(
    case: str, place: str, named: dict[str, FileReading | str]
) -> None:
    reading = named[case]
    assert isinstance(reading, FileReading), reading
    losses = [loss for loss in counted(reading.losses) if loss.code == "variable"]
    assert [loss.severity for loss in losses] == ["changed"]
    assert losses[0].what.startswith(f"{place} depends on the Airflow Variable 'env'")
    assert losses[0].advice == "set the environment variable AIRFLOW_VAR_ENV"
    assert losses[0].place.endswith(":6")


@pytest.mark.parametrize(
    ("case", "problem", "variable"),
    [
        ("missing variable", "the Airflow Variable 'my_bucket'", "AIRFLOW_VAR_MY_BUCKET"),
        ("missing environment", "the environment variable 'MY_BUCKET'", "MY_BUCKET"),
        ("missing connection", "the Airflow Connection 'ml_aws'", "AIRFLOW_CONN_ML_AWS"),
    ],
)
def test_missing_setting_names_the_variable_to_set(
    case: str, problem: str, variable: str, named: dict[str, FileReading | str]
) -> None:
    expected = f":5: needs {problem} on import; set the environment variable {variable}"
    assert named[case] == expected


def test_file_without_inputs_is_imported_once(tmp_path: Path) -> None:
    """The first file counts its imports in the private temporary folder of the process."""
    count = "open(os.path.join(tempfile.gettempdir(), 'count'), 'a').write('x')\nVALUE = 'x'\n"
    answer = "VALUE = open(os.path.join(tempfile.gettempdir(), 'count')).read()\n"
    used = f"{IMPORTS}{count}NOW = datetime.now()\n{DAG}"
    found = read_sources(
        tmp_path,
        {
            "plain": f"{IMPORTS}{count}{DAG}",
            "once": f"{IMPORTS}{answer}{DAG}",
            "clock": used,
            "again": f"{IMPORTS}{answer}{DAG}",
        },
    )
    assert value_of(found["once"]) == "x"
    assert value_of(found["again"]) == "xxx"


START = """\
import datetime, os, socket, sys, tempfile, uuid
from pathlib import Path
from airflow.sdk import DAG
from airflow.providers.standard.operators.bash import BashOperator

{assigned}

with DAG("one", schedule=None):
    BashOperator(task_id="A", bash_command=f"run {used} now{more}"{arguments})
"""
EXPRESSIONS = {
    "executable": "sys.executable",
    "bin": "Path(sys.executable).parent",
    "getcwd": "os.getcwd()",
    "cwd": "Path.cwd()",
    "home": "Path.home()",
    "expanduser": "os.path.expanduser('~/x')",
    "gettempdir": "tempfile.gettempdir()",
    "gethostname": "socket.gethostname()",
    "folder": "Path(__file__).resolve().parent",
    "later": "(datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)).time()",
    "uuid4": "uuid.uuid4()",
}


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> dict[str, FileReading | str]:
    sources = {}
    for name, code in EXPRESSIONS.items():
        options = {"more": "", "arguments": ""}
        sources[name] = START.format(assigned="", used=f"{{{code}}}", **options)
        assigned = START.format(assigned=f"VALUE = {code}", used="{VALUE}", **options)
        sources[f"{name} assigned"] = assigned
    code = EXPRESSIONS["getcwd"]
    more = {"more": "", "arguments": ", trigger_rule='one_success'"}
    rule = START.format(assigned="", used=f"{{{code}}}", **more)
    before = "BashOperator(task_id='B', bash_command='x') >> BashOperator(task_id="
    sources["trigger rule"] = rule.replace("BashOperator(task_id=", before)
    more = {"more": " {os.getcwd()} {sys.executable}", "arguments": ""}
    sources["several"] = START.format(assigned="", used="{sys.executable}", **more)
    return read_sources(tmp_path_factory.mktemp("machine"), sources)


def result_of(step: Step) -> Get:
    return Get("Steps", (Member(step.name), Member("return_value")))


@pytest.mark.parametrize("form", ["", " assigned"])
@pytest.mark.parametrize("name", EXPRESSIONS)
def test_value_of_machine_or_moment_is_read_by_a_step(
    name: str, form: str, started: dict[str, FileReading | str]
) -> None:
    reading = started[f"{name}{form}"]
    assert isinstance(reading, FileReading), reading
    assert reading.pipeline.declared == ()
    first, task = reading.pipeline.steps
    assert isinstance(first, PythonStep)
    assert first.name == ("value" if form else first.function.name.replace("_", "-"))
    command = task.arguments["command"]
    assert command.values == ("run ", result_of(first), " now")
    assert EXPRESSIONS[name].split("(")[0] in first.function.code
    (loss,) = (one for one in reading.losses if one.code == "import-input")
    assert (loss.severity, loss.place[-2:]) == ("info", ":6" if form else ":9")


def test_parts_of_one_string_are_read_by_one_step_each(
    started: dict[str, FileReading | str],
) -> None:
    reading = started["several"]
    assert isinstance(reading, FileReading), reading
    folder, python, task = reading.pipeline.steps
    values = ("run ", result_of(python), " now ", result_of(folder), " ", result_of(python))
    assert task.arguments["command"].values == values


def test_value_under_a_rule_that_counts_steps_is_a_parameter(
    started: dict[str, FileReading | str],
) -> None:
    reading = started["trigger rule"]
    assert isinstance(reading, FileReading), reading
    assert [one.name for one in reading.pipeline.declared] == ["getcwd"]
    assert {step.name for step in reading.pipeline.steps} == {"A", "B"}


def test_templates_stay_templates_if_an_input_changes(tmp_path: Path) -> None:
    source = IMPORTS + (
        "from airflow.providers.standard.operators.bash import BashOperator\n"
        "with DAG('one', schedule=None, start_date=pendulum.today()):\n"
        "    BashOperator(task_id='A', bash_command='echo {{ ds }}')\n"
    )
    reading = read_sources(tmp_path, {"one": source})["one"]

    assert isinstance(reading, FileReading), reading
    assert 'template("echo {{ ds }}")' in write(reading.pipeline, "prefect").text
    assert not reading.pipeline.declared
