SELECT code_put(:key || :'key_tail',
                (:'data_head' || :key || :'family_tail' || :'data_tail')::jsonb,
                :expires_unix)
FROM generate_series(1, :rows) AS i
\g /dev/null
