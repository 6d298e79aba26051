# The background workers behind the presentations inside transactions: none to be had, what their orders carry, and what
# becomes of a take whose worker is terminated.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

my $in_block = "BEGIN;\nSELECT status FROM code_take('%s');\nROLLBACK;";

sub in_block { my ($node, $code, $db) = @_; return $node->safe_psql($db // 'postgres', sprintf($in_block, $code)); }

sub value { my ($node, $sql) = @_; return $node->safe_psql('postgres', $sql); }

# An order carries the meta of a redemption, whatever its size: every $step-th one, and the largest.
sub carries_meta
{
	my ($node, $name, $step) = @_;
	# A jsonb of one text has 13 bytes more than the text, which has some characters of each kind.
	value($node, qq(DROP TABLE IF EXISTS metas;
		CREATE TABLE metas AS SELECT '$name ' || bytes AS code_hash, jsonb_build_object('t', repeat(p, (bytes - 13) / 11) || repeat('x', (bytes - 13) % 11)) AS meta
		FROM generate_series(13, 4096) bytes, (SELECT E'\\u00fc"\\n\\\\\\u20ac {}') p(p) WHERE bytes % $step = 0 OR bytes > 4090;
		INSERT INTO metas VALUES ('$name none', '{}');
		SELECT count(code_put(code_hash, '${\ grant()}', 4102444800)) FROM metas));
	my $metas = value($node, 'SELECT count(*) FROM metas');
	is(value($node, qq(BEGIN; SELECT count(*) FROM metas, code_redeem(code_hash, 'c', 'r', NULL, NULL, meta) WHERE status = 'ok'; ROLLBACK)), $metas,
		"$name: $metas codes are redeemed with metas of up to 4096 bytes");
	is(value($node, 'SELECT count(*) FROM metas JOIN authorizations USING (code_hash) WHERE consumed_success AND consumed_meta IS NOT DISTINCT FROM nullif(meta, jsonb_build_object())'),
		$metas, "$name: and each has its meta");
	put($node, "$name too large");
	is(error_of($node, qq(BEGIN; SELECT code_redeem('$name too large', 'c', 'r', NULL, NULL, jsonb_build_object('t', repeat('x', 4084))))), '22023', "$name: not with 4097");
	is(value($node, "SELECT count(*) FROM code_get('$name too large')"), 1, "$name: and the code is live");
	return;
}

# More callers at once than there are places for metas: each code gets its own.
sub keeps_metas_apart
{
	my ($node, $name) = @_;
	my ($clients, $each) = (80, 10);
	value($node, qq(SELECT count(code_put(format('$name %s %s', c, i), '${\ grant()}', 4102444800)) FROM generate_series(0, $clients - 1) c, generate_series(1, $each) i));
	my $script = PostgreSQL::Test::Utils::tempdir() . "/metas.sql";
	unlink $script;
	append_to_file($script, qq(
\\set i :i + 1
BEGIN;
SELECT code_redeem(format('$name %s %s', :client_id, :i), 'c', 'r', NULL, NULL, jsonb_build_object('of', format('$name %s %s', :client_id, :i), 'more', repeat('m', :i * 300)));
ROLLBACK;
));
	command_ok([ 'pgbench', '-n', '-c', $clients, '-j', '2', '-t', $each, '-D', 'i=0', '-f', $script, '-d', $node->connstr('postgres') ], "$name: $clients callers at once");
	is(value($node, qq(SELECT count(*) FROM authorizations WHERE code_hash LIKE '$name %' AND consumed_success AND consumed_meta->>'of' = code_hash
		AND length(consumed_meta->>'more') = 300 * split_part(code_hash, ' ', -1)::int)), $clients * $each, "$name: each code has its own meta");
	return;
}

my $replay = "SELECT status FROM code_redeem('%s', 'c', 'r')";
my $revoked = "SELECT code_family_revoked('%s')";

# A worker revokes if the caller's settings say so, and fires the triggers that they choose.
sub carries_settings
{
	my ($node, $name) = @_;
	put($node, $name);
	take($node, $name);
	is(value($node, "SET attesto_codes.revoke_on_reuse = off; BEGIN; ${\ sprintf $replay, $name}; ROLLBACK; ${\ sprintf $revoked, $name}"), "error\nf",
		"$name: a replay where the caller revokes");
	is(value($node, "SELECT replayed_at IS NOT NULL FROM authorizations WHERE code_hash = '$name'"), 't', "$name: is noted");
	is(value($node, "BEGIN; ${\ sprintf $replay, $name}; ROLLBACK; ${\ sprintf $revoked, $name}"), "error\nt", "$name: the next one revokes, where it does not");
	value($node, q(CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no' USING ERRCODE = 'UX001'; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON authorization_revoked_families FOR EACH ROW EXECUTE FUNCTION refuse()));
	put($node, "$name triggers");
	take($node, "$name triggers");
	is(error_of($node, "BEGIN;\n${\ sprintf $replay, qq($name triggers)};"), 'UX001', "$name: a trigger on the revocations raises");
	is(value($node, "SELECT replayed_at IS NULL FROM authorizations WHERE code_hash = '$name triggers'"), 't', "$name: and nothing is written");
	is(value($node, "SET session_replication_role = replica; BEGIN; ${\ sprintf $replay, qq($name triggers)}; ROLLBACK; ${\ sprintf $revoked, qq($name triggers)}"), "error\nt",
		"$name: unless the caller's session_replication_role keeps it from firing");
	value($node, 'DROP FUNCTION refuse CASCADE');
	return;
}

# The revocations are locked: a caller in a transaction gets an error and nothing is written, and one without waits.
sub meets_locks
{
	my ($node, $name) = @_;
	my $in_time = "SET statement_timeout = '60s';\nBEGIN;\n";
	my $as_before = sub { return value($node, "SELECT replayed_at IS NULL FROM authorizations WHERE code_hash = '$name'"); };
	put($node, $_) for $name, "$name live";
	take($node, $name);
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	$holder->query_safe('BEGIN; LOCK TABLE authorization_revoked_families IN ACCESS EXCLUSIVE MODE');
	is(error_of($node, $in_time . sprintf($replay, $name)), '55P03', "$name: somebody has locked the revocations");
	is($as_before->(), 't', "$name: and nothing is written");
	my $alone = $node->background_psql('postgres');
	$alone->query_until(qr/sent/, "\\echo sent\n${\ sprintf $replay, $name};\n");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%code_redeem(''$name''%' AND wait_event_type = 'Lock'");
	is($as_before->(), 't', "$name: a call of its own waits");
	$holder->query_safe('ROLLBACK');
	like($alone->query('SELECT 1'), qr/error/, "$name: until they are free");
	is(value($node, sprintf $revoked, $name), 't', "$name: and revokes");
	$alone->quit;

	put($node, "$name again");
	take($node, "$name again");
	for my $mode ('SHARE', 'ACCESS EXCLUSIVE')
	{
		is(error_of($node, "${in_time}LOCK TABLE authorization_revoked_families IN $mode MODE;\n" . sprintf($replay, "$name again")), '55P03',
			"$name: the caller has locked them itself, $mode");
	}

	# A caller that waits for a worker holds nothing for which somebody would wait before the worker.
	$holder->query_safe("BEGIN; SELECT status FROM code_redeem('$name live', 'c', 'r')");
	is(error_of($node, 'BEGIN; LOCK TABLE authorization_revoked_families IN ACCESS EXCLUSIVE MODE NOWAIT'), '', "$name: a presentation leaves no lock on them");
	is(value($node, "BEGIN; ${\ sprintf $replay, qq($name live)}; ROLLBACK; ${\ sprintf $revoked, qq($name live)}"), "error\nt", "$name: a replay goes on meanwhile");
	$holder->query_safe('ROLLBACK');

	# One that read them by hand does.
	put($node, "$name behind");
	$holder->query_safe("SET statement_timeout = '60s'; BEGIN; SELECT count(*) FROM authorization_revoked_families");
	my $rewriter = $node->background_psql('postgres');
	$rewriter->query_until(qr/sent/, "\\echo sent\nVACUUM FULL authorization_revoked_families;\n");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE 'VACUUM FULL%' AND wait_event_type = 'Lock'");
	like($holder->query_safe("SELECT status FROM code_redeem('$name behind', 'c', 'r')"), qr/ok/, "$name: while a VACUUM FULL waits behind the caller it redeems");
	$holder->{stderr} = '';
	$holder->query("SELECT status FROM code_redeem('$name behind', 'c', 'r')");
	like($holder->{stderr}, qr/is locked/, "$name: and to revoke is an error");
	$holder->query('ROLLBACK');
	$rewriter->query_safe('SELECT 1');
	is(value($node, "BEGIN; ${\ sprintf $replay, qq($name behind)}; ROLLBACK; ${\ sprintf $revoked, qq($name behind)}"), "error\nt", "$name: that goes on after it");
	$_->quit for $holder, $rewriter;
	return;
}

# No worker slot.
my $node = new_primary('workers', 'max_worker_processes = 0', 'max_parallel_workers = 0', 'max_logical_replication_workers = 0');
put($node, 'none');
is(error_of($node, sprintf($in_block, 'none')), '53400', 'without a worker slot a take in a transaction is refused');
my ($status, $out, $err) = $node->psql('postgres', sprintf($in_block, 'none'));
like($err, qr/HINT:  Raise max_worker_processes/, 'and says what to do');
is(take($node, 'none'), 'ok', 'the code is still live, and a take on its own needs no worker');
is(error_of($node, 'SELECT code_sweep()'), '53400', 'and no sweep can run');

for my $preload ('', "shared_preload_libraries = 'attesto_codes'")
{
	my $name = $preload ? 'with preload' : 'without preload';
	$node->append_conf('postgresql.conf', "max_connections = 100\nmax_worker_processes = 8\n$preload");
	$node->restart;
	put($node, "$name-$_") for 1 .. 3;

	# A caller that holds a lock which the spend needs gets a clear error; nothing is lost.
	my $blocked = "BEGIN;\n%s;\nSET statement_timeout = '60s';\nSELECT status FROM code_take('$name-1');";
	is(error_of($node, sprintf($blocked, 'LOCK TABLE authorizations')), '55P03', "$name: the caller has locked the table");
	is($node->safe_psql('postgres', sprintf($blocked, 'TRUNCATE authorizations')), 'error', "$name: the caller has emptied the table");
	is(error_of($node, sprintf($blocked, "SELECT FROM authorizations WHERE code_hash = '$name-1' FOR UPDATE")),
		'55P03', "$name: the caller has locked the row");
	is(in_block($node, "$name-1"), 'ok', "$name: the code was still live");

	# A caller that marked one code, and took and marked it, takes another.
	is($node->safe_psql('postgres', "BEGIN;\nSELECT status FROM code_take('$name-2');\nSELECT code_mark_consumed('$name-2');\nSELECT status FROM code_take('$name-3');\nCOMMIT;"),
		"ok\nok\nok", "$name: a take after a mark in one transaction");

	carries_meta($node, "$name, meta", $preload ? 7 : 13);
	carries_settings($node, "$name, settings");
	meets_locks($node, "$name, locks");
	keeps_metas_apart($node, "$name, load");
}

# Many takes at once while the workers are shot: an answer or an error each, and no code twice.
my $codes = 400;
$node->safe_psql('postgres', qq(SELECT code_put('shot-' || i, '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1) FROM generate_series(1, $codes) i));
$node->safe_psql('postgres', 'CREATE TABLE answers (code text, status text)');
my $script = PostgreSQL::Test::Utils::tempdir() . '/shot.sql';
append_to_file($script, q(
\set n random(1, 400)
BEGIN;
SELECT status AS s FROM code_take('shot-' || :n) \gset
COMMIT;
INSERT INTO answers VALUES ('shot-' || :n, :'s');
));
my @load = map {
	IPC::Run::start([ 'pgbench', '-n', '-c', '8', '-j', '2', '-T', '10', '-f', $script, '-d', $node->connstr('postgres') ],
		'>', \my $load_out, '2>', \my $load_err);
} 1;
my $shots = 0;
while (IPC::Run::pumpable($load[0]) && $shots < 40)
{
	IPC::Run::pump_nb($load[0]);
	$shots += $node->safe_psql('postgres', "SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'");
}
IPC::Run::finish($load[0]);
cmp_ok($shots, '>', 0, 'workers were shot under load');
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT FROM answers WHERE status = 'ok' GROUP BY code HAVING count(*) > 1) twice"), 0, 'no code was given twice');
is($node->safe_psql('postgres', "SELECT count(*) FROM answers WHERE status NOT IN ('ok', 'error')"), 0, 'every answer is ok or error');
is(in_block($node, 'shot-1') =~ /^(ok|error)$/, 1, 'takes go on after it');

$node->stop('fast');
pass('the server stops with a resident worker');

done_testing();
