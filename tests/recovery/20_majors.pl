# From PostgreSQL 15 to this one with everything that the tables can hold: by pg_upgrade, by dump and restore, and by logical
# replication. What docs/operations.md says of each is done here. UPGRADE_FROM is the folder of the 15.
use strict;
use warnings;
use AttestoCodes;
use Catalogue;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use States;
use Test::More;

unless ($ENV{UPGRADE_FROM})
{
	# As 09_cron.pl does. A plan of skip_all counts as a suite in which no test ran.
	SKIP: { skip 'there is no older PostgreSQL to come from', 1; }
	done_testing();
	exit;
}

my @tables = qw(authorizations authorization_access_tokens authorization_revoked_families);

# A cluster that is not started yet, with the library preloaded.
sub cluster
{
	my ($name, @place) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, @place);
	my @plain = $node->pg_version >= 18 ? ('--no-data-checksums') : ();
	$node->init(allows_streaming => 'logical', extra => [ '--encoding=UTF8', '--no-locale', @plain ]);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'attesto_codes'\nlog_statement = none");
	sweep($node, 0);
	return $node;
}

# How often a cluster sweeps, in seconds; 0: never.
sub sweep { my ($node, $seconds) = @_; return $node->append_conf('postgresql.conf', "attesto_codes.sweep_interval = $seconds"); }

my $old = cluster('old', install_path => $ENV{UPGRADE_FROM});
$old->start;
cmp_ok($old->safe_psql('postgres', 'SHOW server_version_num'), '<', 160000, 'the old server is a 15');
$old->safe_psql('postgres', "CREATE DATABASE $_") for qw(kept first);
$old->safe_psql('postgres', 'ALTER DATABASE first SET search_path = oauth');
every_state($old, 'kept', 'public');

# The first version is there, with the library of this one.
first_version($old, 'first', 'oauth');
my $grant = q(CREATE ROLE token_oauth; GRANT USAGE ON SCHEMA oauth TO token_oauth; GRANT EXECUTE ON FUNCTION oauth.code_take(text) TO token_oauth);
$old->safe_psql('first', $grant);
my %before = (kept => every_row($old, 'kept', 'public'), first => rows_of_first_version($old, 'first', 'oauth'));

sub is_all_there
{
	my ($node, $title, $of_a_run) = @_;
	is(every_row($node, 'kept', 'public'), $before{kept}, "$title: every row came along");
	is_every_state($node, 'kept', 'public', $title, $of_a_run);
	is(rows_of_first_version($node, 'first', 'oauth'), $before{first}, "$title: every row of the first version, too");
	my ($version) = $node->safe_psql('first', "SELECT extversion FROM pg_extension WHERE extname = 'attesto_codes'");
	return $version;
}

# Dump and restore, by the new server's programs.
my $restored = cluster('restored');
$restored->start;
{
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/all.sql';
	command_ok([ 'pg_dumpall', '-f', $dump, '-d', $old->connstr('postgres') ], 'pg_dumpall of the old server');
	my ($out, $errors) = run_command([ 'psql', '-X', '-q', '-f', $dump, '-d', $restored->connstr('postgres') ]);
	is(join("\n", grep { /ERROR/ && !/role "\w+" already exists/ } split /\n/, $errors), '', 'restored into the new one');
}
# A dump names no version: CREATE EXTENSION makes that of the new server, and the rows come after it.
is(is_all_there($restored, 'dump', 'error'), $restored->safe_psql('kept', "SELECT extversion FROM pg_extension WHERE extname = 'attesto_codes'"),
	'dump: the first version has become this one');
is_first_version($restored, 'first', 'token_oauth');

# Logical replication, into another database of that server.
{
	my $sql = sub { return $old->safe_psql('kept', $_[0]); };
	my $there = sub { return $restored->safe_psql('moved', $_[0]); };
	$restored->safe_psql('postgres', 'CREATE DATABASE moved');
	$there->('CREATE EXTENSION attesto_codes');
	$sql->('CREATE PUBLICATION codes FOR TABLE ' . join ', ', @tables);
	$there->("CREATE SUBSCRIPTION codes CONNECTION '${\ $old->connstr} dbname=kept' PUBLICATION codes");
	$restored->wait_for_subscription_sync($old, 'codes', 'moved');
	is(every_row($restored, 'moved', 'public'), $before{kept}, 'replication: what was there is copied');

	# The old server serves, the new one reads.
	$sql->("SELECT code_put(code, '${\ grant(family_id => 'later')}', 1800000000) FROM unnest('{later,later taken}'::text[]) code;
		SELECT code_take('later taken'); SELECT code_mark_consumed('later taken');
		SELECT code_record_access_token('later', 'later-t', 1800000000); SELECT code_revoke_family('later')");
	$old->wait_for_catchup('codes');
	is($there->("SELECT count(*) FROM code_get('later')"), 1, 'replication: a subscriber reads live codes');
	is($there->("SELECT count(*) FROM code_get('later taken')"), 0, 'replication: and sees those that are spent');
	is($there->("SELECT code_access_token_revoked('later-t')"), 't', 'replication: and revocations');

	# The switch, statement by statement. An open put ends first. A redemption that has recorded its token and not yet marked its
	# code is refused. Neither becomes the victim of a deadlock.
	my $copied = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate = 'r'";
	is($there->($copied), 3, 'switch: all tables are copied');
	my $position = "SELECT pg_current_wal_insert_lsn() FROM pg_class WHERE oid = ANY ('{" . join(', ', @tables) . "}'::regclass[])
		AND relrowsecurity AND relforcerowsecurity HAVING count(*) = 3";
	my ($putter, $redeemer) = map { $old->background_psql('kept', on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]) } 1 .. 2;
	$putter->query("BEGIN; SELECT code_put('last', '${\ grant()}', 1800000000)");
	$redeemer->query("BEGIN; SELECT code_record_access_token('fam', 'never', 1800000000)");
	my @close = map { "ALTER TABLE $_ ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY" } @tables;
	my $closing = IPC::Run::start([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', $old->connstr('kept'), map { ('-c', $_) } @close ]);
	my $waits = "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = '%s'::regclass)";
	$old->poll_query_until('kept', sprintf $waits, $tables[0]);
	is($sql->($position), '', 'switch: while a transaction writes, the tables are not closed');
	$putter->query('COMMIT');
	$old->poll_query_until('kept', sprintf $waits, $tables[1]);
	is($sql->($position), '', 'switch: nor while one of them is open');
	$redeemer->query("SELECT code_mark_consumed('spent')");
	like($redeemer->{stderr}, qr/ERROR:  55000/, 'switch: a redemption that has not marked its code yet is refused');
	$redeemer->query('ROLLBACK');
	$_->quit for $putter, $redeemer;
	ok(IPC::Run::finish($closing), 'switch: the tables are closed once both have ended');
	my $refused = join ' ', map { error_of($old, "SELECT $_", 'kept') } "code_put('no', '${\ grant()}', 1800000000)", "code_take('live')",
	  "code_mark_consumed('spent')", "code_record_access_token('fam', 'no', 1800000000)", "code_revoke_family('fam')";
	is($refused, '55000 55000 55000 55000 55000', 'switch: the old server then writes nothing');
	is($sql->("BEGIN; SELECT count(*) FROM code_get('last'); ROLLBACK"), 1, 'switch: and still reads');
	my $end = $sql->($position);
	$old->poll_query_until('kept', "SELECT confirmed_flush_lsn >= '$end' FROM pg_replication_slots WHERE slot_name = 'codes'")
	  or die 'the subscriber did not catch up';
	is($there->($copied), 3, 'switch: all tables still are');
	$there->('DROP SUBSCRIPTION codes');
	$there->('GRANT EXECUTE ON FUNCTION code_take(text) TO token_public');
	is(every_row($restored, 'moved', 'public'), every_row($old, 'kept', 'public'), 'switch: every row is there');
	is($there->("SELECT status FROM code_take('last')"), 'ok', 'switch: the last code of the old server is taken on the new one');
	is_every_state($restored, 'moved', 'public', 'switch', 'error');

	# A second try over rows that are there never gets its copy, and the query of the copy says so.
	$there->("CREATE SUBSCRIPTION again CONNECTION '${\ $old->connstr} dbname=kept' PUBLICATION codes");
	$restored->wait_for_log(qr/duplicate key value violates unique constraint "authorizations_pkey"/);
	cmp_ok($there->($copied), '<', 3, 'a subscription to tables that have rows is never ready');
	$there->('DROP SUBSCRIPTION again');

	# Back to where pg_upgrade starts from.
	$sql->(join '; ', map { "ALTER TABLE $_ DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY" } @tables);
	is($sql->("SELECT status FROM code_take('last')"), 'ok', 'the old server is opened again');
	$sql->("DELETE FROM authorizations WHERE code_hash LIKE 'la%'; DELETE FROM authorization_access_tokens WHERE family_id = 'later';
		DELETE FROM authorization_revoked_families WHERE family_id = 'later'; DROP PUBLICATION codes");
}
$restored->stop;

# pg_upgrade. Both servers preload the library, and a row is due; no sweep may remove it meanwhile, since pg_upgrade copies
# the files of tables that nobody writes to.
my $new = cluster('new');
$old->stop;
sweep($_, 1) for $old, $new;
chdir $new->basedir or die;
command_ok(
	[ 'pg_upgrade', '--no-sync', '--retain', (map { $_ => '-c log_min_messages=debug1' } '-o', '-O'), '-d', $old->data_dir, '-D', $new->data_dir, '-b', "$ENV{UPGRADE_FROM}/bin", '-B', $new->config_data('--bindir'),
	  '-s', $new->host, '-p', $old->port, '-P', $new->port ],
	'pg_upgrade');
my $log = join '', map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*');
like($log, qr/PostgreSQL 15.* on .*starting PostgreSQL/s, 'pg_upgrade: its log tells of both servers');
unlike($log, qr/starting background worker process "attesto_codes/, 'pg_upgrade: in which the library starts no process');
sweep($new, 0);
$new->start;
is(is_all_there($new, 'pg_upgrade', 'ok'), '0.1.0', 'pg_upgrade: the first version is there as it was');
is(error_of($new, "SELECT code_take('live-new')", 'first'), '42P01', 'pg_upgrade: and wants its update');
$new->safe_psql('first', 'ALTER EXTENSION attesto_codes UPDATE');
is_first_version($new, 'first', 'token_oauth');
for ([ kept => 'public' ], [ first => 'oauth' ])
{
	my ($db, $schema) = @$_;
	$new->safe_psql('postgres', "CREATE DATABASE fresh_$db; ALTER DATABASE fresh_$db SET search_path = $schema");
	$new->safe_psql("fresh_$db", "CREATE SCHEMA IF NOT EXISTS $schema; CREATE EXTENSION attesto_codes;
		GRANT USAGE ON SCHEMA $schema TO token_$schema; GRANT EXECUTE ON FUNCTION code_take(text) TO token_$schema");
	is(differences($new, "fresh_$db", $db), '', "pg_upgrade: $db has what a new installation has");
}
$new->safe_psql('kept', "SELECT code_put('due', '${\ grant()}', 1)");
sweep($new, 1);
$new->reload;
ok($new->poll_query_until('kept', "SELECT NOT EXISTS (SELECT FROM authorizations WHERE code_hash = 'due')"), 'pg_upgrade: sweeps go on');
$new->stop;

done_testing();
