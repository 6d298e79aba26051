SELECT consumed_at, consumed_success FROM authorizations WHERE code_hash = substr(md5('1'), 1, 19) || :key_tail::text;
