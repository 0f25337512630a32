"""The decision table: which decision follows from which rows, as data.

Each case is a document, and the decision about each feature that it names for each tenant. The cases are run by
:mod:`tierwright.testing.suite`, from a session and from a store, in both ways of programming.
"""

from tierwright.testing.decision_table.case import Case, Expected, denied, granted
from tierwright.testing.decision_table.licenses import LICENSES
from tierwright.testing.decision_table.matrices import MATRICES
from tierwright.testing.decision_table.relations import RELATIONS
from tierwright.testing.decision_table.sources import SOURCES
from tierwright.testing.decision_table.windows import WINDOWS

#: All cases, each with a name of its own.
CASES: tuple[Case, ...] = (*SOURCES, *LICENSES, *WINDOWS, *RELATIONS, *MATRICES)

__all__ = ["CASES", "Case", "Expected", "denied", "granted"]
