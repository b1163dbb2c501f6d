"""Monster databases of a user's own server, read into archetypes; see docs/import-db.md."""

from envs.databases.convert import Import, Settings, import_database
from envs.databases.reading import DatabaseError, Note

__all__ = ["DatabaseError", "Import", "Note", "Settings", "import_database"]
