"""Entries of the directory and the operations on them, as frozen models: the one source of what a
body may hold.

An entry is always given whole: `publish` and `amend` carry the full new version, so that what was
approved is what counts. Every identifier begins with the USCC of the organisation that owns the
entry, so that nobody can name an entry in somebody else's place. Rules that need nothing but the
entry itself are checked here; rules that need the state (what an entry refers to, who may do what)
are the handlers'.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from directory.codes import (
    GRADES,
    Collection,
    Grade,
    Hosting,
    InstrumentKind,
    ItemType,
    Mode,
    Network,
    ResourceFormat,
    SharingMethod,
    SharingType,
    UpdateCycle,
    entrustment_id,
    owner_of,
    responsibility_id,
)
from directory.fields import (
    ArticleNumber,
    EntryId,
    FieldName,
    LicenseTypeCode,
    LocalId,
    MatterCode,
    ResponsibilityId,
)
from ledger.fields import Bytes32, Name, Text, TimeMs, Uscc
from ledger.operations import Body

MAX_ARTICLES: Final = 1_300
"""The Civil Code, the longest law in force, has 1,260 articles."""

MAX_REFERENCES: Final = 32
"""Responsibilities, articles, systems that one entry rests on; each is read when the entry is
approved or used."""

MAX_LICENSE_TYPES: Final = 16
MAX_FIELDS: Final = 64
MAX_ITEMS: Final = 256
"""Information items of a resource; wider tables are described by several resources."""

MAX_MATTERS: Final = 512
"""Matters in one entrustment: a comprehensive window takes a few hundred from one department."""

MAX_NUMBER: Final = 9_999


def _require_distinct(what: str, values: tuple[object, ...]) -> None:
    if len(set(values)) != len(values):
        raise ValueError(f"{what} are listed once each")


class Entry(Body):
    """Base of the entries. `collection` and `identifier` say where one stands in the state."""

    collection: ClassVar[Collection]

    @property
    def identifier(self) -> str:
        raise NotImplementedError

    @property
    def owner(self) -> str:
        """The USCC of the organisation whose editors may change this entry."""
        return owner_of(self.identifier)

    @property
    def title(self) -> str:
        """What people call the entry."""
        raise NotImplementedError


class Instrument(Entry):
    """A law, regulation, rule or other written document that gives a legal basis.

    In force from `in_force_from_ms` on, until before `in_force_until_ms` (absent: until further
    notice). `digest` is the suite's hash function over the text in UTF-8; the text itself lies
    elsewhere.
    """

    collection: ClassVar[Collection] = "instrument"

    id: LocalId
    kind: InstrumentKind
    name: Name
    number: Name | None = None
    issuer: Name
    in_force_from_ms: TimeMs
    in_force_until_ms: TimeMs | None = None
    articles: Annotated[tuple[ArticleNumber, ...], Field(min_length=1, max_length=MAX_ARTICLES)]
    digest: Bytes32

    @property
    def identifier(self) -> str:
        return self.id

    @property
    def title(self) -> str:
        return self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_distinct("articles", self.articles)
        if self.in_force_until_ms is not None and self.in_force_until_ms <= self.in_force_from_ms:
            raise ValueError("in_force_until_ms must lie after in_force_from_ms")
        return self

    def in_force(self, article: str, time_ms: int) -> bool:
        """Tell whether an article of the instrument is in force at `time_ms`."""
        until_ms = self.in_force_until_ms
        return (
            article in self.articles
            and self.in_force_from_ms <= time_ms
            and (until_ms is None or time_ms < until_ms)
        )


class Responsibility(Entry):
    """One numbered responsibility of a department, as its published statement has it.

    `catch_all` marks a clause on "other tasks that … assigns": it is shown and covers nothing.
    """

    collection: ClassVar[Collection] = "responsibility"

    department: Uscc
    number: Annotated[int, Field(ge=1, le=MAX_NUMBER)]
    name: Name
    text: Text
    catch_all: bool

    @property
    def identifier(self) -> str:
        return responsibility_id(self.department, self.number)

    @property
    def title(self) -> str:
        return self.name


class System(Entry):
    """An information system that carries out responsibilities of its owner."""

    collection: ClassVar[Collection] = "system"

    id: LocalId
    name: Name
    summary: Text | None = None
    responsibilities: Annotated[
        tuple[ResponsibilityId, ...], Field(min_length=1, max_length=MAX_REFERENCES)
    ]
    network: Network
    hosting: Hosting

    @property
    def identifier(self) -> str:
        return self.id

    @property
    def title(self) -> str:
        return self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_distinct("responsibilities", self.responsibilities)
        _require_own(self.owner, self.responsibilities, "responsibilities")
        return self


class ArticleReference(Body):
    """An article of an instrument: what a legal basis names."""

    instrument: LocalId
    article: ArticleNumber


class Item(Body):
    """One information item (a column) of a resource."""

    name: Name
    type: ItemType
    grade: Grade
    sensitive: bool


class Sharing(Body):
    """How other organisations may get a resource. Conditional: under `condition`; none: on the
    ground of `ground`."""

    type: SharingType
    method: SharingMethod | None = None
    condition: Text | None = None
    ground: ArticleReference | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.condition is not None) != (self.type == "conditional"):
            raise ValueError("a condition goes with conditional sharing, and only with it")
        if (self.ground is not None) != (self.type == "none"):
            raise ValueError("a legal ground goes with sharing type none, and only with it")
        if (self.method is None) != (self.type == "none"):
            raise ValueError("what is shared has a method, what is not has none")
        return self


class Opening(Body):
    """Whether the public may get a resource, and under which condition."""

    open: bool
    condition: Text | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.condition is not None and not self.open:
            raise ValueError("a condition goes with an open resource only")
        return self


class Resource(Entry):
    """A data resource: what a department's systems hold. No table names, hosts or schemas: those
    stay off this ledger.

    `code` is the catalogue code: class, item, entry and sub-entry numbers, a slash, a sequence
    number.
    """

    collection: ClassVar[Collection] = "resource"

    id: LocalId
    name: Name
    code: Annotated[str, Field(pattern=r"^[1-3][0-9]{2,15}/[0-9]{1,9}$")] | None = None
    summary: Text
    format: ResourceFormat
    systems: Annotated[tuple[LocalId, ...], Field(min_length=1, max_length=MAX_REFERENCES)]
    items: Annotated[tuple[Item, ...], Field(min_length=1, max_length=MAX_ITEMS)]
    grade: Grade
    confidential: bool
    sharing: Sharing
    opening: Opening
    update_cycle: UpdateCycle
    related: Annotated[tuple[LocalId, ...], Field(max_length=MAX_REFERENCES)] = ()

    @property
    def identifier(self) -> str:
        return self.id

    @property
    def title(self) -> str:
        return self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_distinct("systems", self.systems)
        _require_distinct("related resources", self.related)
        _require_distinct("names of items", tuple(item.name for item in self.items))
        _require_own(self.owner, self.systems, "systems")
        if self.id in self.related:
            raise ValueError("a resource is not related to itself")
        if GRADES.index(self.grade) < max(GRADES.index(item.grade) for item in self.items):
            raise ValueError("grade is at least the highest grade of the items")
        if self.confidential and (self.opening.open or self.sharing.type == "unconditional"):
            raise ValueError("what is confidential is neither open nor shared unconditionally")
        if self.opening.open and self.sharing.type == "none":
            raise ValueError("what is open to the public is shared, too")
        return self


class DemandedField(Body):
    """A field of a license that a matter may ask for, and why it needs it."""

    name: FieldName
    reason: Text


class LicenseDemand(Body):
    """A license type that a matter may ask for, and the only fields of it that it may see."""

    type: LicenseTypeCode
    fields: Annotated[tuple[DemandedField, ...], Field(min_length=1, max_length=MAX_FIELDS)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        _require_distinct("fields", tuple(field.name for field in self.fields))
        return self


class Matter(Entry):
    """An item of government service: on which responsibilities and articles it rests, and what it
    may ask for."""

    collection: ClassVar[Collection] = "matter"

    code: MatterCode
    name: Name
    department: Uscc
    responsibilities: Annotated[
        tuple[ResponsibilityId, ...], Field(min_length=1, max_length=MAX_REFERENCES)
    ]
    articles: Annotated[
        tuple[ArticleReference, ...], Field(min_length=1, max_length=MAX_REFERENCES)
    ]
    licenses: Annotated[tuple[LicenseDemand, ...], Field(max_length=MAX_LICENSE_TYPES)]
    modes: Annotated[tuple[Mode, ...], Field(max_length=3)]

    @property
    def identifier(self) -> str:
        return self.code

    @property
    def title(self) -> str:
        return self.name

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.department != owner_of(self.code):
            raise ValueError("a matter code begins with its department's USCC")
        _require_distinct("responsibilities", self.responsibilities)
        _require_own(self.department, self.responsibilities, "responsibilities")
        _require_distinct(
            "articles", tuple((basis.instrument, basis.article) for basis in self.articles)
        )
        _require_distinct("license types", tuple(demand.type for demand in self.licenses))
        _require_distinct("modes", self.modes)
        if bool(self.modes) != bool(self.licenses):
            raise ValueError(
                "a matter that asks for licenses, and only such a one, allows modes of use"
            )
        return self

    def demand(self, license_type: str) -> LicenseDemand | None:
        """Return what the matter may ask of a license of this type, or None if nothing."""
        return next((demand for demand in self.licenses if demand.type == license_type), None)


class Entrustment(Entry):
    """A department's written entrustment of an organisation with accepting its matters, for a
    period.

    Valid from `valid_from_ms` on, until before `valid_to_ms`. `digest` is the suite's hash function
    over the document.
    """

    collection: ClassVar[Collection] = "entrustment"

    department: Uscc
    organisation: Uscc
    matters: Annotated[tuple[MatterCode, ...], Field(min_length=1, max_length=MAX_MATTERS)]
    valid_from_ms: TimeMs
    valid_to_ms: TimeMs
    document: Name
    digest: Bytes32

    @property
    def identifier(self) -> str:
        return entrustment_id(self.department, self.organisation)

    @property
    def title(self) -> str:
        return self.document

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.department == self.organisation:
            raise ValueError("a department needs no entrustment from itself")
        if self.valid_to_ms <= self.valid_from_ms:
            raise ValueError("valid_to_ms must lie after valid_from_ms")
        _require_distinct("matters", self.matters)
        _require_own(self.department, self.matters, "matters")
        return self


def _require_own(owner: str, identifiers: tuple[str, ...], what: str) -> None:
    for value in identifiers:
        if owner_of(value) != owner:
            raise ValueError(f"{what} must be the owner's own; {value} is not {owner}'s")


class RetireEntry(Body):
    """Ask that an entry count no longer."""

    id: EntryId
    reason: Text


class ApproveEntry(Body):
    """Approve what waits: exactly the version whose hash `version` names, so that it cannot be
    exchanged unseen."""

    collection: Collection
    id: EntryId
    version: Bytes32
    opinion: Text | None = None


class ReturnEntry(Body):
    """Send what waits back to its owner, with the reason."""

    collection: Collection
    id: EntryId
    version: Bytes32
    opinion: Text


class WithdrawEntry(Body):
    """Take back one's own organisation's submission before it is decided."""

    collection: Collection
    id: EntryId
    version: Bytes32


Action = Literal["publish", "amend", "retire"]

ENTRY_MODELS: Final[dict[Collection, type[Entry]]] = {
    model.collection: model
    for model in (Instrument, Responsibility, System, Resource, Matter, Entrustment)
}
"""The model of each collection's entries."""
