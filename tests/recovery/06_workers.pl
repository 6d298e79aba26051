# The background workers behind the presentations inside transactions: none to be had, one a call, one a
# database, what their orders carry, and what becomes of a take whose worker is terminated.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

my $in_block = "BEGIN;\nSELECT status FROM code_take('%s');\nROLLBACK;";

sub in_block { my ($node, $code, $db) = @_; return $node->safe_psql($db // 'postgres', sprintf($in_block, $code)); }

# An order has the meta of a redemption: every byte of it, whatever its size.
sub carries_meta
{
	my ($node, $name, $step) = @_;
	$node->safe_psql('postgres', qq(
		CREATE TABLE metas AS SELECT '$name ' || size AS code_hash, meta, pg_column_size(meta) - 4 AS bytes FROM generate_series(1, 4096) size,
			-- As many bytes as its size says: with an object, its key, a number or a text of all kinds of characters.
			jsonb_build_object('t', left(repeat(E'\\u00fc"\\n\\\\\\u20ac {}', 400), greatest(1, size - 13))) base,
			jsonb_build_object('t', (base->>'t') || repeat('x', greatest(0, size - (pg_column_size(base) - 4)))) meta
		WHERE size % $step = 0 OR size > 4090;
		ALTER TABLE metas ADD redeemed text;
		SELECT count(code_put(code_hash, '${\ grant()}', 4102444800)) FROM metas;
		BEGIN;
		DECLARE redeemed CURSOR WITH HOLD FOR SELECT m.code_hash, status FROM metas m, code_redeem(m.code_hash, 'c', 'r', NULL, NULL, CASE WHEN bytes <= 4096 THEN meta END);
		CLOSE redeemed;
		ROLLBACK));
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
	my $name = $preload ? 'resident' : 'one a call';
	$node->append_conf('postgresql.conf', "max_worker_processes = 8\n$preload");
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
}

# The resident worker: one a database, gone when idle, and started again.
sub residents { return "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'attesto_codes_resident' AND datname = '$_[0]'"; }

put($node, "resident-$_") for 10 .. 13;
is($node->safe_psql('postgres', sprintf($in_block, 'resident-10') . residents('postgres')), "ok\n1", 'resident: a take has started it');
is($node->safe_psql('postgres', sprintf($in_block, 'resident-11') . residents('postgres')), "ok\n1", 'resident: the next one finds it');
$node->poll_query_until('postgres', "SELECT NOT EXISTS (${\ residents('postgres')} HAVING count(*) > 0)");
pass('resident: it leaves when there is nothing to do');
is(in_block($node, 'resident-12'), 'ok', 'resident: the next take starts it anew');
$node->safe_psql('postgres', "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE backend_type = 'attesto_codes_resident'");
is(in_block($node, 'resident-13'), 'ok', 'resident: also after it was terminated');

# It does not keep a database from being dropped.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', q(CREATE EXTENSION attesto_codes; SELECT code_put('h', '{"client_id": "c", "subject": "s", "redirect_uri": "r"}', 1)));
is(in_block($node, 'h', 'other'), 'ok', 'resident: another database has its own');
is($node->safe_psql('postgres', 'DROP DATABASE other'), '', 'resident: a database can be dropped right after a take');

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
	$shots += $node->safe_psql('postgres', "SELECT count(pg_terminate_backend(pid, 1000)) FROM pg_stat_activity WHERE backend_type = 'attesto_codes_resident'");
}
IPC::Run::finish($load[0]);
cmp_ok($shots, '>', 0, 'workers were shot under load');
is($node->safe_psql('postgres', "SELECT count(*) FROM (SELECT FROM answers WHERE status = 'ok' GROUP BY code HAVING count(*) > 1) twice"), 0, 'no code was given twice');
is($node->safe_psql('postgres', "SELECT count(*) FROM answers WHERE status NOT IN ('ok', 'error')"), 0, 'every answer is ok or error');
is(in_block($node, 'shot-1') =~ /^(ok|error)$/, 1, 'takes go on after it');

$node->stop('fast');
pass('the server stops with a resident worker');

done_testing();
