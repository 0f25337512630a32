"""A host application with a naming convention of its own, and classes that are called like ours."""

from sqlmodel import Field, SQLModel

SQLModel.metadata.naming_convention = {
    "ix": "acme_ix_%(column_0_label)s",
    "uq": "acme_uq_%(table_name)s_%(column_0_name)s",
    "ck": "acme_ck_%(table_name)s_%(constraint_name)s",
    "fk": "acme_fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "acme_pk_%(table_name)s",
}

import tierwright.tables  # noqa: E402, F401  only now: the convention must not rename anything of ours


class FeatureRegistry(SQLModel, table=True):
    __tablename__ = "acme_feature"

    id: int = Field(primary_key=True)
    name: str = Field(index=True, max_length=50)


class LicenseTier(SQLModel, table=True):
    __tablename__ = "acme_tier"

    id: int = Field(primary_key=True)
    feature_id: int = Field(foreign_key="acme_feature.id")


class ModelRegistry(SQLModel, table=True):
    __tablename__ = "acme_model"

    id: int = Field(primary_key=True)
    slug: str = Field(unique=True, max_length=50)
