SELECT code_put(substr(md5(i::text), 1, 19) || :'key_tail',
                (:'data_head' || substr(md5(i::text), 1, 19) || :'family_tail' || :'data_tail')::jsonb,
                :expires_unix)
FROM generate_series(1, :rows) AS i
\g /dev/null
