"""Every check of the project, by name: `nox -l` lists them, `nox -s all` runs them all.

`python -m pytest` alone runs the fast tests. What takes long has a marker and a session here.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "tests", "docs"]

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]

FRAMEWORKS = {
    "django42": ("django==4.2.*", "django"),
    "django52": ("django==5.2.*", "django"),
    "django6": ("django>=6", "django"),
    "flask23": ("flask==2.3.*", "flask"),
    "flask3": ("flask>=3.1", "flask"),
    "fastapi115": ("fastapi==0.115.0", "fastapi"),
    "fastapi": ("fastapi>=0.130", "fastapi"),
}
NO_DJANGO_6 = ("3.10", "3.11")
NO_DJANGO_42 = ("3.13", "3.14")
CELL_NEEDS = ["freezegun", "gevent", "gunicorn", "hypothesis", "pydantic", "pytest-timeout"]
CELL_NEEDS += ["pytest-xdist", "pytest>=8.2"]


def _pytest(session: nox.Session, *args: str, extras: str = "dev") -> None:
    session.install("-e", f".[{extras}]")
    session.run("python", "-m", "pytest", *args, *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the fast tests, as `python -m pytest` does."""
    _pytest(session)


@nox.session(python="3.12")
def coverage(session: nox.Session) -> None:
    """Run the fast tests and require 90 % branch coverage, subprocesses included.

    Not on Python 3.11, where a thread can fail to start while another begins to be traced.
    """
    _pytest(session, "--cov", "--cov-report=term:skip-covered", "--cov-fail-under=90")


@nox.session
def slow(session: nox.Session) -> None:
    """Run the tests of single modules that take more than a moment."""
    _pytest(session, "-m", "slow")


@nox.session
def crash(session: nox.Session) -> None:
    """Kill processes at the lines that handle an event."""
    _pytest(session, "tests/crash", "-m", "crash")


@nox.session
def faults(session: nox.Session) -> None:
    """Fill disks, damage files, fail system calls, and answer as a hostile seller."""
    _pytest(session, "tests/faults", "-m", "faults")


@nox.session
def databases(session: nox.Session) -> None:
    """Keep queues in real database servers, which are killed and cut off."""
    _pytest(session, "-m", "databases")


@nox.session
def mysql(session: nox.Session) -> None:
    """Keep queues in a real MySQL 8; not in `all`, because Debian has no package of it."""
    _pytest(session, "tests/databases", "-m=mysql", "--require-mysql")


@nox.session
def servers(session: nox.Session) -> None:
    """Run applications under their real servers."""
    _pytest(session, "-m", "servers")


@nox.session
def compat(session: nox.Session) -> None:
    """Run an older version beside this one on the same queue."""
    _pytest(session, "-m", "compat")


@nox.session
def shops(session: nox.Session) -> None:
    """Read the models of shop systems that are too large for the tests' own environment."""
    session.install("-e", ".[cli,sandbox]", "django-oscar", *CELL_NEEDS)
    session.run("python", "-m", "pytest", "tests/orders", "-m", "shops", *session.posargs)


@nox.session
def conformance(session: nox.Session) -> None:
    """Deliver to sellers built on the official SDK, and check requests with its schemas."""
    _pytest(session, "-m", "conformance", extras="dev,conformance")


@nox.session
def bench(session: nox.Session) -> None:
    """Test the benchmark's harness; `python -m tests.bench` measures."""
    _pytest(session, "-m", "bench", extras="dev,bench")


@nox.session
def browser(session: nox.Session) -> None:
    """Click through the pages in a real Chromium."""
    session.run("npm", "ci", "--prefix", "tests/browser", "--no-audit", "--no-fund", external=True)
    _pytest(session, "tests/browser", "-m=browser", "--require-browser", extras="dev,browser")


@nox.session
def uwsgi(session: nox.Session) -> None:
    """Run the applications under uWSGI, which is compiled first."""
    _pytest(session, "-m", "uwsgi", extras="dev,uwsgi")


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("ruff>=0.9")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, also as on macOS, and the public API as a user's type checker sees it."""
    session.install("-e", ".[dev]", "pyright[nodejs]>=1.1.390")
    session.run("mypy")
    session.run("mypy", "--platform", "darwin", "-p", "adcp_tracker")
    session.run("pyright", "-p", "tests/typing")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation; warnings are errors."""
    session.install("-e", ".[dev]")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build")


@nox.session
def wheel(session: nox.Session) -> None:
    """Run the fast tests against the built wheel, without the optional isal."""
    dist = Path(session.create_tmp()).resolve()
    session.install("build")
    session.run("python", "-m", "build", "--quiet", "--wheel", "--outdir", str(dist))
    (built,) = dist.glob("*.whl")
    session.install(f"{built}[dev]", "--force-reinstall")
    session.run("uv" if session.venv_backend == "uv" else "python", *_uninstall(session), "isal")
    away = dist / "elsewhere"
    shutil.rmtree(away, ignore_errors=True)
    away.mkdir()
    for name in ["tests", "docs"]:
        shutil.copytree(name, away / name)
    for path in [*Path().glob("*.md"), Path("pyproject.toml"), Path("LICENSE")]:
        shutil.copy(path, away)
    session.chdir(away)
    session.run("python", "-c", "import adcp_tracker as a; assert 'site-packages' in a.__file__")
    session.run("python", "-m", "pytest", "-o", "pythonpath=.", *session.posargs)


def _uninstall(session: nox.Session) -> list[str]:
    if session.venv_backend == "uv":
        return ["pip", "uninstall", "--quiet"]
    return ["-m", "pip", "uninstall", "--quiet", "--yes"]


@nox.session(python=PYTHONS)
def core(session: nox.Session) -> None:
    """Run what needs no web framework under every Python."""
    session.install("-e", ".[cli,encryption,isal,sandbox,sqlalchemy]", "aiosqlite", *CELL_NEEDS)
    others = ["integrations", "databases", "docs", "compat/test_public_api.py"]
    ignored = [f"--ignore=tests/{name}" for name in others]
    session.run("python", "-m", "pytest", *ignored, *session.posargs)


@nox.session(python=PYTHONS)
@nox.parametrize("framework", list(FRAMEWORKS), ids=list(FRAMEWORKS))
def frameworks(session: nox.Session, framework: str) -> None:
    """Run an integration's tests with its oldest and newest framework, under every Python."""
    python = str(session.python)
    if (framework == "django6" and python in NO_DJANGO_6) or (
        framework == "django42" and python in NO_DJANGO_42
    ):
        session.skip(f"{framework} does not support Python {python}")
    requirement, folder = FRAMEWORKS[framework]
    session.install("-e", ".[cli,encryption,isal,sandbox]", requirement, *CELL_NEEDS)
    session.run("python", "-m", "pytest", f"tests/integrations/{folder}", *session.posargs)


@nox.session(name="all", venv_backend="none")
def everything(session: nox.Session) -> None:
    """Run every session but the whole matrix of Pythons: `nox -s core frameworks` runs that."""
    for name in [
        "lint",
        "types",
        "coverage",
        "docs",
        "slow",
        "crash",
        "faults",
        "databases",
        "servers",
        "compat",
        "shops",
        "conformance",
        "bench",
        "browser",
        "uwsgi",
        "wheel",
    ]:
        session.notify(name)
