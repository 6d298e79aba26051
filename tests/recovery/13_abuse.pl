# 32 clients abuse the store while backends are shot, the server crashes, and tables are vacuumed, swept and
# rewritten below them; then what they were answered is compared with what is stored, and amcheck reads the
# files. Nothing is preloaded: the sessions themselves start the workers, which are shot as well. For ABUSE_SECONDS, 20 if
# it is not set.
use strict;
use warnings;
use AttestoCodes;
use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $seconds = $ENV{ABUSE_SECONDS} // 20;

# PostgreSQL's defaults, where the test framework has others; autovacuum, checkpoints and sweeps without a pause.
my $node = new_primary('abuse',
	'max_connections = 100', 'shared_buffers = 128MB', 'wal_log_hints = off', 'restart_after_crash = on',
	'autovacuum_naptime = 1s', 'autovacuum_vacuum_threshold = 20', 'autovacuum_vacuum_scale_factor = 0.01',
	'autovacuum_vacuum_insert_threshold = 20', 'autovacuum_analyze_threshold = 20',
	'autovacuum_vacuum_cost_delay = 0', 'log_autovacuum_min_duration = 0',
	'log_checkpoints = on', 'checkpoint_timeout = 30s', 'max_wal_size = 48MB', 'min_wal_size = 32MB', "log_line_prefix = '%m [%p] %e '",
	"attesto_codes.sweep_interval = '1s'", "attesto_codes.reuse_retention = '2s'");
$node->safe_psql('postgres', 'CREATE EXTENSION amcheck');

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub none { my ($sql, $what) = @_; is(sql($sql), '', $what); return; }
sub at_least { my ($least, $sql, $what) = @_; my $got = sql($sql); cmp_ok($got, '>=', $least, "$what: $got"); return; }

my $folder = PostgreSQL::Test::Utils::tempdir();
is(system("$FindBin::Bin/abuse.py", $node->connstr('postgres'), $seconds, $folder), 0,
	"$seconds seconds, and every client came to its end");
# The last shot may have crashed the server.
ok($node->poll_query_until('postgres', 'SELECT true'), 'the server is there');
my $log = slurp_file($node->logfile);

sql(qq(CREATE TABLE events (what text, code text, answer text, began float8, ended float8);
	COPY events FROM PROGRAM 'cat "$folder"/*.log';
	CREATE INDEX ON events (code, what);
	ANALYZE events));
note(sql('SELECT what, answer, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2'));

# The run was what it should be, also on a machine that does a fifth of the usual.
my $slow = $seconds / 5;
at_least(50 * $slow, q(SELECT count(*) FROM events WHERE what = 'code_take' AND answer = 'ok'), 'takes that answered ok');
at_least(10 * $slow, q(SELECT count(*) FROM events WHERE what = 'stored' AND answer = 'of a run'), 'codes that a crash spends');
at_least(10 * $slow, q(SELECT count(*) FROM events WHERE what = 'code_take' AND answer = 'error'), 'presentations of spent codes');
at_least($slow, q(SELECT count(*) FROM events WHERE what = 'code_take' AND answer = 'consumed'), 'presentations of redeemed codes');
at_least($slow / 10, q(SELECT count(*) FROM events WHERE what = 'code_mark_consumed' AND answer = 'replayed'), 'marks that answered replayed');
at_least(10 * $slow, q(SELECT count(*) FROM events WHERE what = 'code_redeem' AND answer = 'ok'), 'redemptions');
at_least($slow, qq(SELECT count(*) FROM events WHERE what = 'code_redeem' AND answer = '$_'), "redemptions that answered $_")
  for qw(consumed spent client_mismatch redirect_uri_mismatch);
at_least($slow / 10, q(SELECT count(*) FROM events WHERE what = 'code_redeem' AND answer = 'expired'), 'redemptions that came too late');
at_least($slow, q(SELECT count(*) FROM events WHERE what = 'code_complete' AND answer = 'ok'), 'completions');
at_least($slow / 10, q(SELECT count(*) FROM events WHERE what = 'code_complete' AND answer = '55000'), 'completions that raised');
at_least($slow / 10, q(SELECT count(*) FROM events WHERE what = 'code_issue'), 'codes of the server');
at_least($seconds, q(SELECT count(*) FROM events WHERE what IN ('SIGTERM', 'SIGINT')), 'backends and workers terminated or cancelled');
at_least($seconds / 20, q(SELECT count(*) FROM events WHERE what = 'SIGKILL'), 'crashes of the server');
at_least($seconds / 10, q(SELECT count(*) FROM events WHERE what = 'rewritten'), 'tables rewritten');
my $vacuums = () = $log =~ /automatic vacuum of table "postgres\.public\.authorization/g;
my $sweeps = (() = $log =~ /attesto_codes swept/g) + sql(q(SELECT count(*) FROM events WHERE what = 'code_sweep' AND answer ~ '^[1-9]\d*$'));
my $checkpoints = () = $log =~ /checkpoint complete/g;
cmp_ok($vacuums, '>=', $seconds / 5, "automatic vacuums: $vacuums");
cmp_ok($sweeps, '>=', $seconds / 10, "sweeps that removed something: $sweeps");
cmp_ok($checkpoints, '>=', $seconds / 20, "checkpoints: $checkpoints");

# What the clients were answered.
none(q(SELECT what, answer, count(*) FROM events WHERE answer LIKE 'unexpected%' GROUP BY 1, 2), 'no client met an error that is not documented');
none(q(SELECT code FROM events WHERE what IN ('code_take', 'code_redeem') AND answer = 'ok' GROUP BY 1 HAVING count(*) > 1), 'no code was given twice');
none(q(SELECT code FROM events ok JOIN events live USING (code)
	WHERE ok.what IN ('code_take', 'code_redeem') AND ok.answer = 'ok' AND live.what = 'code_get' AND live.answer = 'live' AND live.began > ok.ended),
	'no code was seen live after it was given');
# The client that crashed the server waits until its connection is lost, and connects again once the server is back.
none(q(WITH crashes AS MATERIALIZED (SELECT ended, (SELECT min(began) FROM events WHERE what = 'connected' AND began > crash.ended) AS back
		FROM events crash WHERE what = 'SELECT pg_sleep(60)' AND answer IN ('lost', '57P01', '57P02'))
	SELECT code FROM events put JOIN events later USING (code) JOIN crashes ON put.ended < crashes.ended AND later.began > back
	WHERE put.what = 'stored' AND put.answer = 'of a run' AND (later.what IN ('code_take', 'code_redeem') AND later.answer = 'ok' OR later.what = 'code_get' AND later.answer = 'live')),
	'no code came through a crash that spends it');
none(q(SELECT code FROM events mark JOIN events replay USING (code)
	WHERE mark.what IN ('code_mark_consumed', 'code_complete') AND mark.answer = 'ok' AND replay.ended < mark.began
	AND (replay.what = 'code_take' AND replay.answer = 'error' OR replay.what = 'code_redeem' AND replay.answer = 'spent')),
	'no replay before a mark was forgotten');
none(q(SELECT code FROM events complete JOIN events reuse USING (code)
	WHERE complete.what = 'code_complete' AND complete.answer = 'ok' AND reuse.what = 'code_redeem' AND reuse.answer = 'consumed' AND reuse.ended < complete.began),
	'no reuse before a completion was forgotten');
none(q(SELECT code FROM events reuse WHERE what IN ('code_take', 'code_redeem') AND answer = 'consumed'
	AND NOT EXISTS (SELECT FROM events mark WHERE mark.code = reuse.code AND mark.what = 'redeeming' AND mark.began < reuse.ended)),
	'no code was called redeemed that nobody redeemed');
# Of codes that were stored for sure, and that no sweep removes. A call whose answer was lost may have spent one.
none(q(SELECT code FROM events put JOIN events spent USING (code)
	WHERE put.what = 'stored' AND put.answer = 'on' AND code LIKE 'long%' AND spent.what IN ('code_take', 'code_redeem') AND spent.answer IN ('error', 'spent')
	AND NOT EXISTS (SELECT FROM events winner WHERE winner.code = put.code AND winner.what IN ('code_take', 'code_redeem')
		AND winner.answer IN ('ok', 'client_mismatch', 'redirect_uri_mismatch', 'lost', '57014', '57P01', '57P02'))),
	'no code was refused that nobody had presented');

# What is stored, compared with what was answered. What a client with synchronous_commit = off was told may be
# lost with a crash, but for a take's ok.
none(q(SELECT code FROM events JOIN authorizations ON code_hash = code WHERE what IN ('code_take', 'code_redeem') AND answer = 'ok' AND consumed_at IS NULL
		AND (run IS NULL OR run IN (SELECT run FROM authorization_runs))),
	'no code that was given is live');
none(q(SELECT code FROM events LEFT JOIN authorizations ON code_hash = code
	WHERE what = 'stored' AND answer = 'on' AND code LIKE 'long%' AND subject IS DISTINCT FROM code
	UNION ALL SELECT code FROM events WHERE what = 'code_mark_consumed' AND answer = 'missing' AND code LIKE 'long%'),
	'no code was lost');
none(q(SELECT code FROM events LEFT JOIN authorizations ON code_hash = code
	WHERE what IN ('redeemed', 'completed') AND answer = 'on' AND code LIKE 'long%' AND consumed_success IS NOT TRUE
	UNION ALL SELECT code FROM events JOIN authorizations ON code_hash = code WHERE what = 'redeemed at once' AND run IS NULL AND NOT consumed_success
	UNION ALL SELECT code FROM events LEFT JOIN authorization_access_tokens ON jti = code || ' 1' WHERE what = 'completed' AND answer = 'on' AND jti IS NULL),
	'no redemption was lost, and no token');
none(q(SELECT code FROM events JOIN authorizations ON code_hash = code
	WHERE what = 'code_complete' AND answer = 'ok' AND run IS NULL AND consumed_at = replayed_at),
	'no closed code was completed');
# Of those that are stored still. A closed code revokes nothing, nor does one that a crash has spent.
none(q(SELECT DISTINCT code FROM events JOIN authorizations a ON code_hash = code
	WHERE what = 'code_redeem' AND answer IN ('spent', 'consumed') AND consumed_at IS NOT NULL AND consumed_at IS DISTINCT FROM replayed_at
	AND NOT (code_family_revoked(code_hash) AND code_family_revoked(coalesce(family_id, code_hash)))),
	'every replay and reuse by code_redeem has revoked its code');
none(q(SELECT DISTINCT jti FROM events JOIN authorizations ON code_hash = code CROSS JOIN (VALUES (' 1'), (' 2')) number(number)
	JOIN authorization_access_tokens ON jti = code || number
	WHERE what = 'code_redeem' AND answer IN ('spent', 'consumed') AND NOT code_access_token_revoked(jti)
	AND (answer = 'consumed' OR consumed_at IS DISTINCT FROM replayed_at)),
	'and left no token good');
none(q(SELECT code FROM events WHERE what = 'revoked' AND answer = 'on' AND code LIKE 'long%' AND NOT EXISTS (SELECT FROM authorization_revoked_families WHERE family_id = code)),
	'no revocation was lost');
none(q(SELECT jti FROM authorization_access_tokens JOIN authorization_revoked_families USING (family_id)
	WHERE expires_at > now() + interval '1 minute' AND NOT code_access_token_revoked(jti)),
	'no token of a revoked family is valid');
ok($node->poll_query_until('postgres', "\\set QUIET 1\nSELECT code_put(gen_random_uuid()::text, '${\ grant()}', 4102444800) \\g /dev/null\nSELECT due = 0 FROM code_stats()"),
	'sweeps go on until nothing is due');

# The contents of the files.
my %keys = (authorizations => 'code_hash', authorization_access_tokens => 'jti', authorization_revoked_families => 'revocation',
	authorization_runs => 'run', authorization_queue => 'segment');
my $tables = 'FROM pg_class t WHERE t.relname IN (' . join(', ', map { "'$_'" } sort keys %keys) . ')';
my $indexes = "FROM pg_index WHERE indisvalid AND indrelid IN (SELECT oid $tables)";
is(sql("SELECT count(*) $indexes"), 10, 'every index is there');
none(qq(SELECT relname, found.* FROM (SELECT t.oid, relname, reltoastrelid $tables) t, LATERAL (
	SELECT * FROM verify_heapam(t.oid, check_toast => true)
	UNION ALL SELECT * FROM verify_heapam(reltoastrelid) WHERE reltoastrelid <> 0) found), 'verify_heapam finds nothing');
for my $check ('bt_index_check(indexrelid, true)', 'bt_index_parent_check(indexrelid, true, true)')
{
	my ($status, $out, $err) = $node->psql('postgres', "SELECT $check $indexes", on_error_stop => 1);
	is("$status $err", '0 ', "$check finds nothing");
}
my $sequential = 'SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off';
none("$sequential; SELECT $keys{$_} FROM $_ GROUP BY 1 HAVING count(*) > 1", "$_ holds each $keys{$_} once") for sort keys %keys;
# By each index in its order, and without any, in one snapshot: sweeps go on.
none(q(BEGIN ISOLATION LEVEL REPEATABLE READ;
	CREATE FUNCTION pg_temp.count(query text, by_index text) RETURNS bigint LANGUAGE plpgsql
	SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off AS $$
	DECLARE result bigint;
	BEGIN
	  PERFORM set_config('enable_indexscan', by_index, true), set_config('enable_indexonlyscan', by_index, true);
	  EXECUTE query INTO result;
	  RETURN result;
	END $$;
	SELECT indexrelid::regclass ) . $indexes . q(
	AND pg_temp.count(format('SELECT count(*) FROM (SELECT %1$s FROM %2$s ORDER BY 1 OFFSET 0) rows',
	      pg_get_indexdef(indexrelid, 1, false), indrelid::regclass), 'on')
	    <> pg_temp.count(format('SELECT count(*) FROM %s', indrelid::regclass), 'off');
	COMMIT), 'each index leads to as many rows as there are');

# What the server says. With each line its SQLSTATE: 08 is a client that went away.
$log = slurp_file($node->logfile);
my @lines = grep { !/^\S+ \S+ \S+ \[\d+\] (08\w{3}|40P01|55P03|57014|57P0[123]|55000 ERROR:  no tokens may|P0002 ERROR:  no such authorization code) / } $log =~ /^(.* (?:ERROR|FATAL|PANIC):  .*)$/mg;
is(join("\n", @lines), '', 'the log has no error that is not documented');
unlike($log, qr/TRAP|panicked|WARNING:  (?!terminating connection)/, 'and nothing that looks like a bug');
my %killed = map { $_ => 1 } split(/\n/, sql(q(SELECT code FROM events WHERE what = 'SIGKILL')));
my @died = grep { !(/\(PID (\d+)\) was terminated by signal 9/ && $killed{$1}) } $log =~ /^(.* was terminated by signal .*)$/mg;
is(join("\n", @died), '', 'no process died of a signal but those that were killed');

$node->stop;
done_testing();
