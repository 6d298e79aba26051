-- Any code of those that are to be taken.
\set code random(:first, :last)
SELECT * FROM code_take(substr(md5(:code::text), 1, 19) || :key_tail::text);
