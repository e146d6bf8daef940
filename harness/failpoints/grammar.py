# SPDX-License-Identifier: BSD-2-Clause
"""The language of failpoint settings: FreeBSD's fail(9) whole, and `[vcpu N]` for the outside.

    setting  :=  term ( "->" term )*
    term     :=  ( number "%" | integer "*" )*  action  [ "(" integer ")" ]  filter*
    number   :=  digits [ "." digits ]  |  "." digits
    filter   :=  "[pid " integer "]"  |  "[vcpu " integer "]"
    action   :=  off return sleep panic break print pause yield delay

Units: sleep's argument is milliseconds, delay's is microseconds, a percentage is of the passes
through the place (to 1/10,000 of a percent), a count is of executions.

Source: the manual page fail(9) and the behaviour of sys/kern/kern_fail.c (parse_term,
parse_number) of FreeBSD. Two freedoms are added: blanks around `->` and at the ends, and `[pid N]`
without an argument before it (FreeBSD's parser wants one, so `str()` writes `pause(0)[pid 7]`).
What FreeBSD takes silently and is surely a mistake is refused here: `sleep` without a time, an
argument that the action ignores, 0 % and more than 100 %, octal numbers.
"""

import re
from dataclasses import dataclass
from enum import StrEnum

from harness.errors import ConfigurationError

PPM_ALWAYS = 1_000_000
"""The probability of a term without a percentage, in parts per million (kern_fail.c: PROB_MAX)."""

_PERCENT_DECIMALS = 4  # kern_fail.c keeps this many digits after the point and rounds the next
_LONGEST = 4096  # far beyond what FreeBSD takes (1023), far below what makes int() refuse digits
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1


class Action(StrEnum):
    """What a term does when it executes, named as in fail(9)."""

    OFF = "off"
    RETURN = "return"
    SLEEP = "sleep"
    PANIC = "panic"
    BREAK = "break"
    PRINT = "print"
    PAUSE = "pause"
    YIELD = "yield"
    DELAY = "delay"


_UNITS = {Action.SLEEP: "milliseconds", Action.DELAY: "microseconds"}
_DEFAULT_ZERO = {Action.RETURN, Action.PRINT}


@dataclass(frozen=True)
class Term:
    """One term of a setting: an action, how often, and for whom.

    `argument` is the value returned (return), milliseconds (sleep), microseconds (delay), whether
    the next term is evaluated too (print, 0 or not), and None for the actions that take none.
    `ppm` is the probability of executing, in parts per million of the passes (1 to 1,000,000).
    `count` is how many executions remain before the term is off; None is without limit. The
    probability is evaluated before the count: `2%5*` is 2 % of the time, but only 5 times.
    `pid` (the guest's process id) and `vcpu` (QEMU's index) filter who executes it.

    Raises ConfigurationError if the values do not go together.
    """

    action: Action
    argument: int | None = None
    ppm: int = PPM_ALWAYS
    count: int | None = None
    pid: int | None = None
    vcpu: int | None = None

    def __post_init__(self) -> None:
        if self.argument is None and self.action in _DEFAULT_ZERO:
            object.__setattr__(self, "argument", 0)
        problem = _argument_problem(self.action, self.argument)
        if problem:
            raise ConfigurationError(f"failpoint: {problem}")
        if not 1 <= self.ppm <= PPM_ALWAYS:
            raise ConfigurationError(
                f"failpoint: a probability of {self.ppm} parts per million; expected 1 to 1000000"
            )
        if self.count is not None and not 1 <= self.count <= _INT_MAX:
            raise ConfigurationError(
                f"failpoint: a count of {self.count}; expected 1 to {_INT_MAX}"
            )
        for name, value in (("pid", self.pid), ("vcpu", self.vcpu)):
            if value is not None and not 0 <= value <= _INT_MAX:
                raise ConfigurationError(f"failpoint: [{name} {value}]; expected 0 to {_INT_MAX}")

    @property
    def probability(self) -> float:
        """The probability of executing at a pass, 0 < p <= 1."""
        return self.ppm / PPM_ALWAYS

    @property
    def hold_seconds(self) -> float | None:
        """For how long sleep and delay hold their caller, in seconds; None for other actions."""
        if self.argument is None:
            return None
        if self.action is Action.SLEEP:
            return self.argument / 1e3
        if self.action is Action.DELAY:
            return self.argument / 1e6
        return None

    @property
    def may_hold(self) -> bool:
        """Whether it makes its caller wait: a pause, or a sleep or delay of some length."""
        return self.action is Action.PAUSE or bool(self.hold_seconds)

    @property
    def always_ends_the_chain(self) -> bool:
        """Whether every pass that comes to this term ends here, so no later term is evaluated."""
        unconditional = self.ppm == PPM_ALWAYS and self.count is None
        return (
            unconditional
            and self.pid is None
            and self.vcpu is None
            and not (self.action is Action.PRINT and self.argument)
        )

    def __str__(self) -> str:
        text = "" if self.ppm == PPM_ALWAYS else f"{_percent(self.ppm)}%"
        if self.count is not None:
            text += f"{self.count}*"
        text += self.action.value
        if self.argument is not None and not (
            self.action is Action.PRINT and self.argument == 0 and self.pid is None
        ):
            text += f"({self.argument})"
        elif self.pid is not None:
            text += "(0)"  # kern_fail.c looks for [pid N] only after an argument
        if self.pid is not None:
            text += f"[pid {self.pid}]"
        if self.vcpu is not None:
            text += f"[vcpu {self.vcpu}]"
        return text


@dataclass(frozen=True)
class Setting:
    """A chain of terms: each is evaluated only if those before it did not execute.

    (A `print` with a non-zero argument executes and passes on to the next as well.)
    `str()` gives the canonical text, which FreeBSD takes unless it has a `[vcpu N]`.
    Raises ConfigurationError if there is no term.
    """

    terms: tuple[Term, ...]

    def __post_init__(self) -> None:
        if not self.terms:
            raise ConfigurationError("failpoint: a setting needs at least one term; `off` is one")

    @property
    def reachable_terms(self) -> tuple[Term, ...]:
        """The terms that some pass can execute and that do something; empty for `off`.

        A final `off` changes nothing and is left out; so is what stands behind a term that takes
        every pass.
        """
        kept: list[Term] = []
        for term in self.terms:
            kept.append(term)
            if term.always_ends_the_chain:
                break
        while kept and kept[-1].action is Action.OFF:
            kept.pop()
        return tuple(kept)

    def __str__(self) -> str:
        return "->".join(str(term) for term in self.terms)


def parse_setting(text: str) -> Setting:
    """Read a failpoint setting, such as `20%3*sleep(10)[pid 71]->.5%return(5)->off`.

    Raises ConfigurationError that shows the text with a caret below the first wrong character and
    says what would be right.
    """
    return _Parser(text).setting()


def _percent(ppm: int) -> str:
    units, decimals = divmod(ppm, 10**_PERCENT_DECIMALS)
    if not decimals:
        return str(units)
    return f"{units or ''}.{decimals:0{_PERCENT_DECIMALS}}".rstrip("0")


def _argument_problem(action: Action, argument: int | None) -> str | None:
    unit = _UNITS.get(action)
    if unit and argument is None:
        return f"{action} needs a time in {unit}, as in {action}(10)"
    if argument is None:
        return None
    if not _INT_MIN <= argument <= _INT_MAX:
        return f"{action}({argument}): the argument must fit a C int ({_INT_MIN} to {_INT_MAX})"
    if unit and argument < 0:
        return f"{action}({argument}): a time in {unit} cannot be negative"
    if action not in _UNITS and action not in _DEFAULT_ZERO and argument is not None:
        return f"{action} takes no argument"
    return None


class _Parser:
    """A cursor over one setting's text."""

    _NUMBER = re.compile(r"(\d*)(?:\.(\d*))?", re.ASCII)
    _WORD = re.compile(r"[A-Za-z_]+")
    _INTEGER = re.compile(r"([+-]?)(0[xX][0-9a-fA-F]+|\d+)", re.ASCII)
    _FILTER = re.compile(r"\[(\w+)")
    _BLANKS = re.compile(r"[ \t]*")

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def setting(self) -> Setting:
        if len(self.text) > _LONGEST:
            raise ConfigurationError(
                f"failpoint setting of {len(self.text)} characters: expected at most {_LONGEST}"
            )
        if "\n" in self.text or "\r" in self.text:
            raise ConfigurationError(
                f"failpoint setting {self.text!r}: expected one line; join terms by '->'"
            )
        self.blanks()
        terms = [self.term()]
        self.blanks()
        while self.at < len(self.text):
            if not self.take("->"):
                raise self.error("expected '->' and another term, or the end")
            self.blanks()
            terms.append(self.term())
            self.blanks()
        return Setting(tuple(terms))

    def term(self) -> Term:
        ppm, count = self.how_often()
        action_at = self.at
        action = self.action()
        argument = self.argument(action)
        problem = _argument_problem(action, argument)
        if problem:
            raise self.error(problem, at=self.at if argument is None else action_at)
        filters = self.filters()
        return Term(action, argument, ppm, count, filters.get("pid"), filters.get("vcpu"))

    def how_often(self) -> tuple[int, int | None]:
        """The last percentage and the last count count, as fail(9) says."""
        ppm, count = PPM_ALWAYS, None
        while self.peek().isdecimal() or self.peek() == ".":
            start = self.at
            match = self.match(self._NUMBER)
            assert match is not None  # one digit or point is there
            units, decimals = match.group(1), match.group(2)
            if decimals == "":
                raise self.error("expected a digit after the decimal point")
            if self.take("%"):
                ppm = self.probability(units, decimals or "", start)
            elif self.take("*"):
                if decimals is not None:
                    raise self.error("a count is a whole number, as in 5*", at=start)
                count = int(units)
                if not 1 <= count <= _INT_MAX:
                    raise self.error(f"a count must be 1 to {_INT_MAX}", at=start)
            else:
                raise self.error("expected '%' (a percentage) or '*' (a count) after the number")
        return ppm, count

    def probability(self, units: str, decimals: str, start: int) -> int:
        kept, rest = decimals[:_PERCENT_DECIMALS], decimals[_PERCENT_DECIMALS:]
        ppm: int = int(units or "0") * 10**_PERCENT_DECIMALS + int(
            kept.ljust(_PERCENT_DECIMALS, "0")
        )
        if rest and rest[0] >= "5":
            ppm += 1
        if ppm > PPM_ALWAYS:
            raise self.error("a percentage is at most 100%", at=start)
        if ppm == 0:
            raise self.error(
                "a percentage is at least .0001% after rounding; for never, write off", at=start
            )
        return ppm

    def action(self) -> Action:
        start = self.at
        match = self.match(self._WORD)
        word = match.group() if match else ""
        try:
            return Action(word)
        except ValueError:
            names = ", ".join(Action)
            raise self.error(f"expected one of {names}", at=start) from None

    def argument(self, action: Action) -> int | None:
        if not self.take("("):
            return None
        start = self.at
        unit = _UNITS.get(action)
        what = f"a whole number of {unit}" if unit else "a whole number"
        if action is Action.SLEEP:
            what += " (for less than one use delay, which takes microseconds)"
        value = self.integer(what)
        if not self.take(")"):
            raise self.error(f"expected {what} and then ')'")
        if action not in _UNITS and action not in _DEFAULT_ZERO:
            if value != 0:
                raise self.error(f"{action} takes no argument", at=start)
            return None  # FreeBSD wants `pause(0)[pid N]`; the 0 means nothing
        return value

    def filters(self) -> dict[str, int]:
        found: dict[str, int] = {}
        while self.peek() == "[":
            start = self.at
            match = self.match(self._FILTER)
            name = match.group(1) if match else ""
            if name not in ("pid", "vcpu"):
                raise self.error("expected [pid N] or [vcpu N]", at=start)
            if name in found:
                raise self.error(f"[{name} N] is there twice", at=start)
            if not self.take(" "):
                raise self.error(f"expected a blank and a number, as in [{name} 1]")
            number_at = self.at
            found[name] = self.integer("a whole number")
            if not 0 <= found[name] <= _INT_MAX:
                raise self.error(f"expected 0 to {_INT_MAX}", at=number_at)
            if not self.take("]"):
                raise self.error("expected ']'")
        return found

    def integer(self, what: str) -> int:
        start = self.at
        match = self.match(self._INTEGER)
        if match is None:
            raise self.error(f"expected {what}")
        sign, digits = match.groups()
        if len(digits) > 1 and digits[0] == "0" and digits[1] not in "xX":
            raise self.error(
                "a leading 0 means octal in fail(9): write it decimal or with 0x", at=start
            )
        magnitude: int = int(digits, 16 if digits[:2].lower() == "0x" else 10)
        return -magnitude if sign == "-" else magnitude

    def blanks(self) -> None:
        self.match(self._BLANKS)

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def take(self, expected: str) -> bool:
        if self.text.startswith(expected, self.at):
            self.at += len(expected)
            return True
        return False

    def match(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def error(self, message: str, at: int | None = None) -> ConfigurationError:
        column = self.at if at is None else at
        shown = "".join(c if c.isprintable() else "?" for c in self.text)
        return ConfigurationError(f"failpoint setting: {message}\n  {shown}\n  {' ' * column}^")
