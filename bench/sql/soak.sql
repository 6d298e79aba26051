-- A client's transactions go round in threes, so that the log tells by their number which are takes:
-- put a code; take the one that was put :behind rounds ago; end its redemption. Of ten codes one is
-- never taken: the code before it is presented again instead, and its family revoked. Another one is
-- spent and not redeemed.
\set t :t + 1
\set phase mod(:t, 3)
\set put :t / 3
\set code :put - :behind
\set kind mod(:code, 10)
\set before :code - 1
\if :phase = 0
SELECT code_put(substr(md5(:client_id::text || '-' || :put::text), 1, 19) || :key_tail::text, (:data_head::text || substr(md5(:client_id::text || '-' || :put::text), 1, 19) || :family_tail::text || :data_tail::text)::jsonb, extract(epoch FROM now())::bigint + :code_life::bigint);
\elif :phase = 1
\if :kind = 0
\set code :before
\endif
SELECT * FROM code_take(substr(md5(:client_id::text || '-' || :code::text), 1, 19) || :key_tail::text);
\elif :kind = 0
SELECT code_revoke_family(substr(md5(:client_id::text || '-' || :before::text), 1, 19) || :family_tail::text);
\elif :kind = 5
SELECT code_access_token_revoked('jti-' || md5(:client_id::text || '-' || :before::text));
\else
BEGIN;
SELECT code_record_access_token(substr(md5(:client_id::text || '-' || :code::text), 1, 19) || :family_tail::text, 'jti-' || md5(:client_id::text || '-' || :code::text), extract(epoch FROM now())::bigint + :token_life::bigint);
SELECT code_mark_consumed(substr(md5(:client_id::text || '-' || :code::text), 1, 19) || :key_tail::text);
COMMIT;
\endif
