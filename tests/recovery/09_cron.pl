# Without shared_preload_libraries = 'attesto_codes' pg_cron sweeps: in its own database and in others, through
# background workers or connections, as the owner or as a role that may do nothing else.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use Test::More;

my %ways = (workers => 'cron.use_background_workers = on', connections => "cron.host = '%s'");
my %nodes = map { $_ => new_primary($_) } keys %ways;
my $due = "SELECT code_put('due-' || i, '${\ grant()}', 1) FROM generate_series(1, 3) i; SELECT code_put('live', '${\ grant()}', 1800000000); SELECT code_put('spent', '${\ grant()}', 1); SELECT code_take('spent')";

sub schedule
{
	my ($way, $node) = @_;
	$node->append_conf('postgresql.conf', join "\n", "shared_preload_libraries = 'pg_cron'", sprintf($ways{$way}, $node->host), '');
	$node->restart;
	$node->safe_psql('postgres', $due);
	$node->safe_psql('postgres', 'CREATE DATABASE app');
	$node->safe_psql('app', qq(
		CREATE SCHEMA oauth;
		CREATE EXTENSION attesto_codes SCHEMA oauth;
		SET search_path = oauth;
		$due;
		CREATE ROLE sweeper LOGIN;
		GRANT USAGE ON SCHEMA oauth TO sweeper;
		GRANT EXECUTE ON FUNCTION code_sweep(integer) TO sweeper;));
	$node->safe_psql('postgres', q(
		CREATE EXTENSION pg_cron;
		SELECT cron.schedule('attesto_codes sweep', '* * * * *', 'SELECT code_sweep()');
		SELECT cron.schedule_in_database('attesto_codes sweep of app', '* * * * *', 'SELECT oauth.code_sweep()', 'app', 'sweeper');));
	return;
}

sub check
{
	my ($way, $node) = @_;
	my $runs = 'FROM cron.job_run_details WHERE end_time IS NOT NULL';
	ok($node->poll_query_until('postgres', "SELECT count(DISTINCT jobid) = 2 $runs"), "$way: both jobs have run");
	is($node->safe_psql('postgres', "SELECT DISTINCT database, username, status $runs ORDER BY database"),
		"app|sweeper|succeeded\npostgres|${\ $node->safe_psql('postgres', 'SELECT current_user')}|succeeded", "$way: and succeeded");
	is($node->safe_psql('postgres', 'SELECT code_hash FROM authorizations ORDER BY 1'), "live\nspent", "$way: what was due is gone");
	is($node->safe_psql('app', 'SELECT code_hash FROM oauth.authorizations ORDER BY 1'), "live\nspent", "$way: also in the other database");
	return;
}

SKIP:
{
	skip 'this PostgreSQL has no pg_cron: there is no package of it, or scripts/setup.sh --tests did not run', 1
	  if $nodes{workers}->safe_psql('postgres', "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_cron'") == 0;
	# Every minute is the shortest that pg_cron 1.4 knows: the two servers wait for it together.
	schedule($_, $nodes{$_}) for sort keys %nodes;
	check($_, $nodes{$_}) for sort keys %nodes;
}

done_testing();
