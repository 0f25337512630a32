"""The runner of the documentation's examples notices what it is there to notice."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs import run_page


def _page(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "page.md").write_text(text, "utf-8")
    command = [sys.executable, run_page.__file__, str(folder / "page.md")]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=dict(os.environ))


GOOD = """
```python
x = 1
```

```python
print("x  is", x)
```

```text title="output"
x is ...
```

```ini title="deep/file.ini"
[a]
```

```console
$ export GREETING=hello
$ cat deep/file.ini
[a]
```

<!-- example: exit 3 -->
```bash
echo $GREETING >&2 && exit 3
```

<!-- example: not run: it would never end -->
```bash
sleep infinity
```
"""


def test_good_page(tmp_path: Path) -> None:
    done = _page(tmp_path, GOOD)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("x = 1", "x = y", "line 3"),
        ("x is ...", "y is ...", "the page shows"),
        ("$ cat deep/file.ini\n[a]", "$ cat deep/file.ini\n[b]", "the page shows"),
        ("exit 3 -->", "exit 4 -->", "ended with 3, not 4"),
        ("<!-- example: exit 3 -->\n", "", "ended with 3, not 0"),
    ],
)
def test_bad_page(tmp_path: Path, old: str, new: str, message: str) -> None:
    done = _page(tmp_path, GOOD.replace(old, new))
    assert done.returncode == 1
    assert message in done.stderr
