-- 0.5.0: writes that fire triggers. Everything here makes what sql/*.sql makes for a new installation.
ALTER FUNCTION @extschema@.code_get(text) STABLE;
ALTER FUNCTION @extschema@.code_access_token_revoked(text) STABLE;
