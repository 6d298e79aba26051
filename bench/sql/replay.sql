SELECT * FROM code_take(substr(md5('1'), 1, 19) || :key_tail::text);
