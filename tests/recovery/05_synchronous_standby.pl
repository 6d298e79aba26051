# Where synchronous_standby_names names a standby, a presentation answers when that standby has what it wrote, also
# in a session with synchronous_commit = off or local; so its promotion brings no code back, and forgets no mark and no
# revocation.
use strict;
use warnings;
use AttestoCodes;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use Test::More;

# No presentation commits by itself: the client could cancel its wait for the standby.
my $primary = new_primary('primary', 'synchronous_commit = off', 'max_worker_processes = 24', 'max_connections = 40');
my %takes = (
	alone => "SELECT status FROM code_take('%s')",
	block => "BEGIN; SELECT status FROM code_take('%s'); COMMIT",
	redeem => "SELECT status FROM code_redeem('%s', 'c', 'r', NULL, NULL, '{}')",
	redeemblock => "BEGIN; SELECT status FROM code_redeem('%s', 'c', 'r', NULL, NULL, '{}'); COMMIT",
	reuse => "SELECT status FROM code_redeem('%s', 'c', 'r')",
	reuseblock => "BEGIN; SELECT status FROM code_redeem('%s', 'c', 'r'); ROLLBACK");
my @codes = map { my $way = $_; map { "$way-$_" } qw(off local) } sort keys %takes;
put($primary, $_) for @codes, 'cancelled';
$primary->safe_psql('postgres', "SELECT code_redeem('$_', 'c', 'r', NULL, NULL, '{}'); SELECT code_complete('$_', 'token of $_', 4102444800)") for grep { /^reuse/ } @codes;

$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);
$standby->stop;
$primary->append_conf('postgresql.conf', "synchronous_standby_names = '*'");
$primary->reload;
$primary->poll_query_until('postgres', "SELECT current_setting('synchronous_standby_names') = '*'");

# While the standby is down nobody gets an answer.
my %answers;
my @runs = map {
	my $code = $_;
	my ($way, $commit) = split /-/;
	my @sql = ("SET synchronous_commit = $commit", split /; /, sprintf($takes{$way}, $code));
	$answers{$code} = '';
	IPC::Run::start([ 'psql', '-XqAt', '-d', $primary->connstr('postgres'), map { ('-c', $_) } @sql ], '>', \$answers{$code});
} @codes;
# A caller waits for its worker. The workers wait for the standby, or behind one that does: PostgreSQL lets transactions that
# notify commit one after the other.
my $waiting = "SELECT count(*) = " . @codes . " FROM pg_stat_activity WHERE query ~ 'code_(take|redeem)' AND wait_event = 'Extension'
	AND EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep')";
ok($primary->poll_query_until('postgres', $waiting), 'every presentation waits for the standby');
IPC::Run::pump_nb($_) for @runs;
is(join('', values %answers), '', 'none has answered');

# A client that cancels its wait gets no entry.
my ($row, $error) = ('', '');
my $cancelled = IPC::Run::start([ 'psql', '-XqAt', '-d', $primary->connstr('postgres'), '-c', sprintf($takes{alone}, 'cancelled') ],
	'>', \$row, '2>', \$error);
ok($primary->poll_query_until('postgres', $waiting =~ s/ = \d+/ = ${\ (@codes + 1)}/r), 'one more take waits');
$primary->safe_psql('postgres', "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%code_take(''cancelled'')' AND pid <> pg_backend_pid()");
IPC::Run::finish($cancelled);
is($row, '', 'a cancelled take hands nothing out');
like($error, qr/canceling statement due to user request/, 'and says that it was cancelled');

# A plain UPDATE of such a session would not wait.
$primary->safe_psql('postgres', 'SET synchronous_commit = off; CREATE TABLE does_not_wait ()');

$standby->start;
IPC::Run::finish($_) for @runs;
is($answers{$_}, /^reuse/ ? "consumed\n" : "ok\n", "$_: the presentation answers when the standby is there") for @codes;

$primary->stop('immediate');
$standby->promote;
is($standby->safe_psql('postgres', "SELECT code_access_token_revoked('token of $_')"), 't', "$_: revoked on the promoted standby") for grep { /^reuse/ } @codes;
is(take($standby, $_), /^re/ ? 'consumed' : 'error', "$_: spent on the promoted standby") for @codes;

done_testing();
