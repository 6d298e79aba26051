# Transaction ids come round. A frozen row keeps the id that wrote it, and a transaction of a later epoch may get the same
# one: it must not take such a row for its own, whose presentation may vanish with it.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

# The server's own programs come first in PATH. Those behind them may belong to another server.
unless (-x (split /:/, $ENV{PATH})[0] . '/pg_resetwal')
{
	# As 15_repack.pl does.
	SKIP: { skip 'this PostgreSQL comes without pg_resetwal', 1; }
	done_testing();
	exit;
}

my $node = new_primary('wraparound', 'autovacuum = off');

sub value { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

# Codes in all states, written by one transaction.
my $grant = grant();
my $writer = value(qq(
	SET attesto_codes.take_in_transaction = join;
	BEGIN;
	SELECT pg_current_xact_id();
	DO \$\$ BEGIN
		PERFORM code_put(code, '$grant', 4102444800) FROM unnest(ARRAY['live', 'live 2', 'spent', 'spent 2', 'redeemed', 'redeemed 2']) code;
		PERFORM code_take(code) FROM unnest(ARRAY['spent', 'spent 2', 'redeemed', 'redeemed 2']) code;
		PERFORM code_mark_consumed(code) FROM unnest(ARRAY['redeemed', 'redeemed 2']) code;
	END \$\$;
	COMMIT));
is(value('SELECT count(*), count(DISTINCT xmin::text), min(xmin::text) FROM authorizations'), "6|1|$writer", 'one transaction has written six codes');
value('ALTER DATABASE template0 ALLOW_CONNECTIONS true');
$node->safe_psql($_, 'VACUUM FREEZE') for 'template0', 'template1', 'postgres';

# The next transaction has the same id, one epoch later. The commit log no longer knows the fate of the old one.
$node->stop;
command_ok([ 'pg_resetwal', '-e', '1', '-x', $writer, '-u', $writer, $node->data_dir ], 'the ids come round');
my $commits = $node->data_dir . '/pg_xact/0000';
unlink $commits;
append_to_file($commits, "\0" x 262_144);
$node->start;

my $present = join '; ', map { ("SELECT status FROM code_take('$_')", "SELECT status FROM code_redeem('$_ 2', 'c', 'r', NULL, NULL, '{\"jti\": \"t\"}')") } qw(live spent redeemed);
is(value("BEGIN; SELECT pg_current_xact_id()::text::bigint - (1::bigint << 32), count(*) FROM authorizations WHERE xmin = pg_current_xact_id()::xid; $present; ROLLBACK"),
	"$writer|6\nok\nok\nerror\nerror\nconsumed\nconsumed", 'a transaction with the id of the rows presents each code, and is rolled back');
is(value("SELECT code_hash FROM authorizations WHERE xmin = '$writer' OR consumed_at IS NULL"), '', 'others have written what it presented');
is(value("SELECT count(*) FROM code_get('live')"), 0, 'the live code is spent');
is(take($node, 'live'), 'error', 'and cannot be taken again');
is(value("SELECT consumed_meta FROM authorizations WHERE code_hash = 'live 2'"), '{"jti": "t"}', 'and the redeemed one is marked');
is(value("SELECT family_id FROM authorization_revoked_families ORDER BY 1"), "redeemed 2\nspent 2", 'those that were redeemed again are revoked');
is(value("SELECT code_mark_consumed('spent')"), 'replayed', 'the mark of the spent one knows of the replay');
is(value("SELECT reused_at IS NOT NULL FROM authorizations WHERE code_hash = 'redeemed'"), 't', 'the reuse of the redeemed one is noted');
is(value("BEGIN; SELECT code_put('own', '$grant', 4102444800); SELECT status FROM code_take('own'); ROLLBACK; SELECT count(*) FROM authorizations WHERE code_hash = 'own'"),
	"\nok\n0", 'a code that its own transaction put vanishes with it');
unlike(slurp_file($node->logfile), qr/WARNING|ERROR|PANIC/, 'and the log has no complaint');

$node->stop;
done_testing();
