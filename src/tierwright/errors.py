"""Every error that tierwright raises, in one tree.

    TierwrightError
    ├── ConfigurationError          the call or the environment is wrong
    │   ├── DatabaseUrlMissing
    │   ├── DatabaseUrlInvalid
    │   ├── DialectUnsupported
    │   ├── DriverMissing
    │   ├── DependencyMissing
    │   ├── ChainNotFound
    │   ├── SessionMissing
    │   ├── TransactionMissing
    │   ├── AuditContextMissing
    │   ├── StoreUnsupported
    │   └── IsolationRefused
    ├── DatabaseError               the database cannot be used as it is
    │   ├── DatabaseUnreachable
    │   ├── DatabaseReadOnly
    │   ├── SchemaNotFound
    │   ├── PrivilegeMissing
    │   └── PoolerDetected
    ├── MigrationError              the chain refuses to go on; nothing was changed
    │   ├── TableNameTaken
    │   ├── ObjectNameTaken
    │   ├── DirtyData
    │   ├── RevisionUnknown
    │   ├── RevisionCollision
    │   ├── ForeignKeysEnforced
    │   ├── RebuildUnsafe
    │   ├── LockNotAcquired
    │   ├── OfflineUnsupported
    │   ├── MigrationFailed
    │   └── SchemaDrift
    ├── EntitlementError            the tenant may not, or nobody can tell
    │   ├── FeatureDenied
    │   └── EntitlementsUnavailable
    ├── WriteRefused                the write would break the catalogue; nothing was written
    │   ├── NotFound
    │   ├── AlreadyExists
    │   ├── ReferenceUnknown
    │   ├── CycleRefused
    │   ├── PrerequisiteBroken
    │   ├── ConflictRefused
    │   ├── TierClosed
    │   ├── TierDeleted
    │   ├── StillInUse
    │   ├── CatalogChanged
    │   ├── DocumentChanged
    │   ├── ConfigChanged
    │   ├── Unrecordable
    │   ├── HistoryProtected
    │   └── LossRefused
    ├── SecretsError                secrets cannot be sealed or opened; rows stay as they are
    │   ├── SecretsNotConfigured
    │   ├── UnknownKeyId
    │   ├── DecryptionFailed
    │   └── EnvelopeInvalid
    ├── ArchiveError                an archive of the history cannot be trusted, made or restored
    │   ├── ArchiveDamaged
    │   ├── ArchiveNotWritten
    │   └── ArchiveNotRestored
    ├── RetryTransaction            another transaction came first; the same one may succeed now
    ├── HistoryRequired             today's rows cannot answer for that moment
    ├── HistoryUnreadable           a row of the history is none that could be read
    ├── NotALimit                   a decision without a number was asked to compare
    └── InvalidInput                a value that never reached SQL
        ├── DocumentInvalid
        ├── ConfigInvalid
        └── SecretInPlainConfig

Each class carries a stable ``code`` (the class name in kebab case), and each instance a ``remedy``: what the
reader can do next. Codes are covered by semantic versioning; messages are not.
"""

from __future__ import annotations

from tierwright.error_root import TierwrightError as TierwrightError


class ConfigurationError(TierwrightError):
    """The call or the environment is wrong."""


class DatabaseUrlMissing(ConfigurationError):
    """No database was named."""


class DatabaseUrlInvalid(ConfigurationError):
    """The database URL cannot be parsed."""


class DialectUnsupported(ConfigurationError):
    """The database is neither SQLite nor PostgreSQL."""


class DriverMissing(ConfigurationError):
    """The driver that the URL needs is not installed."""


class DependencyMissing(ConfigurationError):
    """An optional package that this call needs is not installed."""


class ChainNotFound(ConfigurationError):
    """The migration scripts are not where the package should carry them."""


class SessionMissing(ConfigurationError):
    """The question needs the database itself, and no session was given."""


class TransactionMissing(ConfigurationError):
    """A write of several statements was given a connection that commits each of them by itself."""


class AuditContextMissing(ConfigurationError):
    """A write does not say who makes it."""


class StoreUnsupported(ConfigurationError):
    """A store cannot have connections of its own to this database."""


class IsolationRefused(ConfigurationError):
    """Row-level security would not keep tenants apart, or would meet policies that are not ours."""


class DatabaseError(TierwrightError):
    """The database cannot be used as it is."""


class DatabaseUnreachable(DatabaseError):
    """No connection could be made."""


class DatabaseReadOnly(DatabaseError):
    """The database, or the file that holds it, does not accept writes."""


class SchemaNotFound(DatabaseError):
    """The PostgreSQL schema that was asked for does not exist."""


class PrivilegeMissing(DatabaseError):
    """The database role may not do what was asked."""


class PoolerDetected(DatabaseError):
    """A transaction-pooling proxy stands between us and PostgreSQL."""


class MigrationError(TierwrightError):
    """The chain refuses to go on; what it had begun was undone."""


class TableNameTaken(MigrationError):
    """Tables of our names exist that our chain did not create."""


class ObjectNameTaken(MigrationError):
    """An index, constraint or helper table of our name belongs to something else."""


class DirtyData(MigrationError):
    """Rows would break a constraint that the upgrade adds."""


class RevisionUnknown(MigrationError):
    """The version table names a revision that this release does not know."""


class RevisionCollision(MigrationError):
    """The host's own chain has a revision with an id of ours."""


class ForeignKeysEnforced(MigrationError):
    """A SQLite table cannot be rebuilt while foreign keys are enforced: children would be deleted."""


class RebuildUnsafe(MigrationError):
    """A SQLite table cannot be rebuilt without losing something that the host added."""


class LockNotAcquired(MigrationError):
    """Another migrator, or another session, kept its lock for too long."""


class OfflineUnsupported(MigrationError):
    """This cannot be rendered as a script in this environment."""


class MigrationFailed(MigrationError):
    """The database refused a statement of the chain."""


class SchemaDrift(MigrationError):
    """The database differs from what the chain made."""


class EntitlementError(TierwrightError):
    """The tenant may not use what was required, or nobody can tell."""


class FeatureDenied(EntitlementError):
    """The tenant may not use the feature; ``details`` say why."""


class EntitlementsUnavailable(EntitlementError):
    """The database cannot be asked, and nothing fresh enough is known."""


class WriteRefused(TierwrightError):
    """The write would break the catalogue; nothing was written."""


class NotFound(WriteRefused):
    """What is to be changed does not exist."""


class AlreadyExists(WriteRefused):
    """Something with this key exists."""


class ReferenceUnknown(WriteRefused):
    """The write refers to a feature, tier or integration that does not exist."""


class CycleRefused(WriteRefused):
    """Prerequisites, or base tiers, would run in a circle."""


class PrerequisiteBroken(WriteRefused):
    """A tier would grant a feature without what that feature needs."""


class ConflictRefused(WriteRefused):
    """Two features that exclude each other would be granted together."""


class TierClosed(WriteRefused):
    """The tier takes no new tenants."""


class TierDeleted(WriteRefused):
    """The tier was deleted: nobody can get it any more."""


class StillInUse(WriteRefused):
    """Something refers to what is to be removed."""


class CatalogChanged(WriteRefused):
    """The catalogue is not the one that the plan was made for."""


class DocumentChanged(WriteRefused):
    """The document is not the one that the plan was made from."""


class ConfigChanged(WriteRefused):
    """A tenant's settings are not those that the write was made for."""


class Unrecordable(WriteRefused):
    """The history could not tell what a statement does, so it was not run."""


class HistoryProtected(WriteRefused):
    """The history of changes is only added to."""


class LossRefused(WriteRefused):
    """Tenants would lose features, or have lower limits."""


class SecretsError(TierwrightError):
    """Secrets cannot be sealed or opened; what is stored stays as it is."""


class SecretsNotConfigured(SecretsError):
    """The process has no keys, or its key provider wraps nothing."""


class UnknownKeyId(SecretsError):
    """The key that wrapped a data key is not among the keys of the process."""


class DecryptionFailed(SecretsError):
    """A key is not the one of its id, or an envelope was changed, or belongs to another row or version."""


class EnvelopeInvalid(SecretsError):
    """What is stored as secrets is no envelope of ours."""


class ArchiveError(TierwrightError):
    """An archive of the history cannot be trusted, made or restored; the history stays as it is."""


class ArchiveDamaged(ArchiveError):
    """An archive is not what its manifest says."""


class ArchiveNotWritten(ArchiveError):
    """An archive cannot be written where it was to be."""


class ArchiveNotRestored(ArchiveError):
    """An archive does not fit the database."""


class RetryTransaction(TierwrightError):
    """Another transaction came first; the same work, begun anew, may succeed."""


class HistoryRequired(TierwrightError):
    """The rows of today cannot answer for a moment before their newest change."""


class HistoryUnreadable(TierwrightError):
    """A row of the history cannot be read as an entry."""


class NotALimit(TierwrightError):
    """The decision has no number to compare with."""


class InvalidInput(TierwrightError, ValueError):
    """A value breaks the contract of its field; it never reached SQL."""


class DocumentInvalid(InvalidInput):
    """A catalogue document is wrong; ``details`` list every problem with its place."""


class ConfigInvalid(InvalidInput):
    """A tenant's settings break their integration's schema; ``details`` list the places and rules."""


class SecretInPlainConfig(InvalidInput):
    """Settings hold what looks like a secret in a place that is not encrypted."""
