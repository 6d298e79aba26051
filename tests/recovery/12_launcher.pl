# What keeps a database from being swept is said in the log, and does not keep the others from it.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('launcher', "shared_preload_libraries = 'attesto_codes'", "attesto_codes.sweep_interval = '1s'");

sub put_due { my ($name) = @_; my $grant = grant(); $node->safe_psql('postgres', "SELECT code_put('$name', '$grant', 1)"); return; }

sub is_swept
{
	my ($what) = @_;
	ok($node->poll_query_until('postgres', 'SELECT count(*) = 0 FROM authorizations'), $what);
	return;
}

# A name in the encoding of the session that gave it. The shell hands the byte on as it is.
$node->safe_psql('postgres', q(CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'));
my $script = PostgreSQL::Test::Utils::tempdir() . '/latin.sql';
append_to_file($script, qq(CREATE DATABASE "caf\xe9" TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C';\n));
$node->command_ok([ 'psql', '-X', '-q', '-f', $script, $node->connstr('latin') . ' client_encoding=LATIN1' ], 'a database whose name is not UTF-8');
put_due('latin');
is_swept('keeps no other from being swept');

# What the launcher needs for a round it gives back.
sub memory_used
{
	my $seen = -s $node->logfile;
	my $next = $node->safe_psql('postgres', 'SELECT sweeps + 4 FROM code_stats()');
	$node->poll_query_until('postgres', "SELECT sweeps >= $next FROM code_stats()");
	$node->safe_psql('postgres', q(SELECT pg_log_backend_memory_contexts(pid) FROM pg_stat_activity WHERE backend_type = 'attesto_codes launcher'));
	my $line = qr/level: [01]; TopMemoryContext: .* (\d+) used/;
	$node->wait_for_log($line, $seen);
	return slurp_file($node->logfile, $seen) =~ $line ? $1 : undef;
}
is(memory_used(), memory_used(), 'rounds of sweeps leave no memory behind');

# Somebody is about to rename a database: nobody can connect to it meanwhile.
$node->safe_psql('postgres', 'CREATE DATABASE held');
my $rename = $node->background_psql('postgres');
$rename->query_safe('BEGIN');
$rename->query_safe('ALTER DATABASE held RENAME TO other');
ok($node->poll_query_until('postgres', q(SELECT count(*) > 0 FROM pg_locks WHERE NOT granted AND classid = 'pg_database'::regclass)), 'its sweeper waits');
put_due('held');
is_swept('but the others are swept');
$rename->{run}->kill_kill;
$node->poll_query_until('postgres', q(SELECT count(*) = 0 FROM pg_stat_activity WHERE query LIKE 'ALTER DATABASE%' AND pid <> pg_backend_pid()));

# An index that is gone.
my $seen = -s $node->logfile;
$node->safe_psql('postgres', 'ALTER INDEX authorizations_sweep RENAME TO aside');
ok($node->wait_for_log(qr/could not sweep database "postgres".*authorizations_sweep is missing/s, $seen), 'a missing index is in the log');
$node->safe_psql('postgres', 'ALTER INDEX aside RENAME TO authorizations_sweep');
put_due('index');
is_swept('and when it is back sweeps go on');

# No worker slot beside the launcher's own.
$node->append_conf('postgresql.conf', "max_worker_processes = 1\nmax_logical_replication_workers = 0");
$node->restart;
put_due('slot');
ok($node->wait_for_log(qr/could not sweep database.*no background worker is free.*HINT:  Raise max_worker_processes/s), 'a missing worker slot is in the log');
is($node->safe_psql('postgres', 'SELECT count(*) FROM authorizations'), 1, 'nothing was swept');

# What a session gives in its connection options does not weaken what the database has.
$node->append_conf('postgresql.conf', "max_worker_processes = 8\nshared_preload_libraries = ''\nattesto_codes.sweep_interval = 0");
$node->restart;
$node->safe_psql('postgres', q(ALTER DATABASE postgres SET attesto_codes.reuse_retention = '90d'; CREATE ROLE sweeper LOGIN; GRANT EXECUTE ON FUNCTION code_sweep TO sweeper));
my $grant = grant();
$node->safe_psql('postgres', "SELECT code_put('old', '$grant', extract(epoch FROM now())::bigint - 60 * 86400)");
take($node, 'old');
$node->safe_psql('postgres', q(SELECT code_mark_consumed('old')));
{
	local $ENV{PGOPTIONS} = '-c attesto_codes.reuse_retention=0';
	is($node->safe_psql('postgres', 'SELECT code_sweep()', connstr => $node->connstr('postgres') . ' user=sweeper'), 1, 'a sweep by a role without rights on the setting');
}
is(take($node, 'old'), 'consumed', 'keeps the evidence for as long as the database says');

$node->stop;
done_testing();
