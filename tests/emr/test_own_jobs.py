"""A job of a user's own on EMR: the plan, its price, the run, and what is refused before anything is asked."""

import json

import pytest

from base.paths import CACHE
from launch import transfer
from tests import own_job
from tests.emr.conftest import BUCKET
from tests.emr.machinery import Played, keys


def plan(launch, job, *more, behind=("0",)):
    return launch("emr-plan", "--bucket", "mine", *more, str(job), "--", *behind)


def test_a_plan_has_the_jobs_step_and_the_price_of_its_minutes(launch, tmp_path):
    job = own_job.write(tmp_path / "own")
    code, out, error = plan(launch, job, "--minutes", "20")
    assert (code, error) == (0, "")
    request = json.JSONDecoder().raw_decode(out.partition("\n")[2])[0]
    args = request["Steps"][0]["HadoopJarStep"]["Args"]
    assert args[args.index("spark-submit") - 2 :][:3] == ["env", "GREETING=hello", "spark-submit"]
    assert "spark.executorEnv.GREETING=hello" in args
    assert "spark.executor.memory=1g" in args
    files = next(arg for arg in args if arg.startswith("spark.files="))
    assert files.startswith("spark.files=s3://mine/artifacts/files/")
    assert files.endswith("/config.json")
    assert args[args.index("--py-files") + 1].endswith("/helpers.zip")
    main, source, target, given = args[-4:]
    assert main.startswith("s3://mine/artifacts/package/")
    assert main.endswith("/job.py")
    assert source.startswith("s3://mine/images/")
    assert target.startswith("s3://mine/results/")
    assert given == "0"
    assert "29 minutes of 3 x m5.xlarge" in out, "20 of work, 8 to start, 1 to end"
    assert "based on    20 minutes of work, as --minutes has it" in out
    assert "images  " not in out.rpartition("estimate")[2]


@pytest.mark.parametrize("code", [0, 7])
def test_a_run_sends_what_is_named_prints_what_the_job_prints_and_keeps_its_exit_code(ready, launch, tmp_path, code):
    job = own_job.write(tmp_path / "own")
    with Played(code) as amazon:
        ended, out, error = launch("emr-run", "--bucket", BUCKET, "--yes", str(job), "--", str(code))
    assert ended == code, error
    assert out.count("the job's words\n") == 1
    (args,) = amazon.asked
    named = [arg.rpartition("=")[2] for arg in args if f"s3://{BUCKET}/artifacts/" in arg]
    assert len(named) == 3, "zip, file and entry point"
    for uri in named:
        assert keys(uri.removeprefix(f"s3://{BUCKET}/")), f"{uri} was uploaded"
    assert not [key for key in keys("") if ".env" in key or key.endswith(".toml")]
    assert "sends       config.json: 15 bytes" in error
    if code:
        assert error.splitlines()[-1].endswith("; the job's exit code is 7")
        assert not (job / "out").exists()
    else:
        assert (job / "out" / "part-0.parquet").read_bytes() == b"rows"
        assert out.splitlines()[-1].endswith("the bill comes from Amazon")


def test_a_plan_has_the_rights_of_what_the_job_declares_and_no_more(launch, tmp_path):
    job = own_job.write(tmp_path / "own")
    out = plan(launch, job)[1]
    document = json.JSONDecoder().raw_decode(
        out.partition("# Rights that this job's declaration asks for")[2].partition("\n")[2]
    )[0]
    allowed = {
        action: {name for each in document["Statement"] if action in each["Action"] for name in each["Resource"]}
        for action in ("s3:GetObject", "s3:PutObject")
    }
    source, target = (
        f"{kind}/{transfer.place(job / name, owner=transfer.mark(CACHE))}"
        for kind, name in (("images", "data"), ("results", "out"))
    )
    bucket = "arn:aws:s3:::mine"
    assert allowed["s3:PutObject"] == {f"{bucket}/{target}/*", f"{bucket}/spark-events/*"}
    assert allowed["s3:GetObject"] == allowed["s3:PutObject"] | {
        *(f"{bucket}/{name}/*" for name in (source, "artifacts")),
        *(f"{bucket}/{name}" for name in (target, "spark-events")),
    }


def test_release_and_instance_type_are_the_declarations_where_no_flag_says_more(launch, tmp_path):
    job = own_job.write(tmp_path / "own")
    declaration = job / "emrlab.toml"
    declaration.write_text(f'release = "emr-7.14.0"\ninstance-type = "r5.xlarge"\n{declaration.read_text()}')
    out = plan(launch, job)[1]
    assert '"ReleaseLabel": "emr-7.14.0"' in out
    assert "3 x r5.xlarge" in out
    assert "3 x m5.2xlarge" in plan(launch, job, "--instance-type", "m5.2xlarge")[1]


def test_what_cannot_be_is_one_line(launch, tmp_path):
    job = own_job.write(tmp_path / "own", secrets=True)
    code, _, error = plan(launch, job)
    assert code == 2
    assert "secrets API_KEY: a step's command line and environment are shown" in error
    assert len(error.splitlines()) == 1
    other = own_job.write(tmp_path / "other")
    declaration = other / "emrlab.toml"
    declaration.write_text(declaration.read_text().replace('result = "out"', 'result = "s3://theirs/results/x"'))
    code, _, error = plan(launch, other)
    assert code == 2
    assert "outputs.result s3://theirs/results/x: the nodes may use s3://mine/results/…" in error
    assert plan(launch, tmp_path / "gone.py")[0] == 2
    code, _, error = launch("emr-plan", "--bucket", "mine", "--input", "x", str(job))
    assert code == 2
    assert "--input belongs to the image pipeline, and JOB" in error


def test_a_plan_has_a_jobs_own_packages_on_the_nodes_and_its_jars_on_the_class_path(launch, tmp_path):
    job = own_job.write(tmp_path / "own")
    declaration = job / "emrlab.toml"
    needs = 'requirements = "requirements.txt"\npackages = ["org.example:fast_2.13:1.2"]\n'
    declaration.write_text(needs + declaration.read_text())
    (job / "requirements.txt").write_text("h3\n")
    code, out, error = plan(launch, job)
    assert (code, error) == (0, "")
    request = json.JSONDecoder().raw_decode(out.partition("\n")[2])[0]
    (action,) = request["BootstrapActions"]
    wheelhouse, *rest = action["ScriptBootstrapAction"]["Args"]
    assert wheelhouse.startswith("s3://mine/artifacts/wheelhouse/wheelhouse-SHA256")
    assert rest == ["SHA256", "3.11"], "the image pipeline's modules are not asked for"
    args = request["Steps"][0]["HadoopJarStep"]["Args"]
    assert args[args.index("--jars") + 1] == "s3://mine/artifacts/jars/SHA256/org.example_fast_2.13-1.2.jar"
