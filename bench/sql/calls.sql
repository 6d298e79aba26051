SELECT by_hand.microseconds(:'call', array_agg(substr(md5(i::text), 1, 19) || :'key_tail' ORDER BY i), :'data', :expires_unix)
FROM generate_series(1, :calls) AS i;
