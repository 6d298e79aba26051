\set h random(1000000000000000000, 9223372036854775807)
SELECT code_put(:h::text || :key_tail::text, (:data_head::text || :h::text || :family_tail::text || :data_tail::text)::jsonb, :expires_unix::bigint);
SELECT * FROM code_take(:h::text || :key_tail::text);
SELECT code_mark_consumed(:h::text || :key_tail::text);
