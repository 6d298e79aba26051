-- A take and a mark leave the row in its page, also where the pages were filled: no index learns of them.
SELECT count(code_put('h' || n, jsonb_build_object('client_id', 'c', 'subject', repeat('s', 400), 'redirect_uri', 'r'), 1800000000)) FROM generate_series(1, 200) n;
CREATE TEMP TABLE placed AS SELECT code_hash, (ctid::text::point)[0] AS page FROM authorizations;
SELECT max(page) > 3 AS several_pages FROM placed;
\set ECHO none
\o /dev/null
SELECT format('SELECT * FROM code_take(%L)', 'h' || n), format('SELECT code_mark_consumed(%L)', 'h' || n) FROM generate_series(1, 200) n \gexec
\o
\set ECHO all
SELECT count(*), count(*) FILTER (WHERE consumed_success) AS redeemed, count(*) FILTER (WHERE page <> (a.ctid::text::point)[0]) AS moved
FROM authorizations a JOIN placed USING (code_hash);
TRUNCATE authorizations;
