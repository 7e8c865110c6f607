import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOAD_AND_ASK = """
from lib.{module} import load_{function}

load_{function}().question("When does the tide turn?")
"""


@pytest.mark.parametrize(("module", "function"), [("e5", "e5"), ("minilm", "minilm")])
def test_nothing_is_told_about_the_machine(tmp_path: Path, module: str, function: str) -> None:
    """onnxruntime would leave an id and what it has to send in the home directory, unless it
    believes to be tested; so nothing says that it is."""
    subprocess.run(
        [sys.executable, "-c", LOAD_AND_ASK.format(module=module, function=function)],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        check=True,
    )
    assert not list(tmp_path.rglob("*"))
