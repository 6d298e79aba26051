# What the tests of a sharded store share: clusters that are shards and proxies, and clients that run against them.
package Shards;

use strict;
use warnings;
use AttestoCodes;
use Exporter 'import';
use FindBin;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(need_plproxy new_shard new_proxy at crash start_again start_clients stop_clients);

my $contrib = "$FindBin::Bin/../../contrib/plproxy";

sub need_plproxy
{
	my $share = `pg_config --sharedir`;
	chomp $share;
	return if -e "$share/extension/plproxy.control";
	SKIP: { skip 'this PostgreSQL has no PL/Proxy: there is no package of it, or scripts/setup.sh --tests did not run', 1; }
	done_testing();
	exit;
}

# A server with the database codes_1.
sub new_shard
{
	my ($name, @conf) = @_;
	my $node = new_primary($name, 'max_connections = 60', 'max_worker_processes = 16', 'restart_after_crash = on', @conf);
	$node->safe_psql('postgres', 'CREATE DATABASE codes_1');
	$node->safe_psql('codes_1', 'CREATE EXTENSION attesto_codes');
	return $node;
}

# A connection as it stands in the map.
sub at
{
	my ($node, $database) = @_;
	return sprintf 'host=%s port=%d dbname=%s', $node->host, $node->port, $database // 'codes_1';
}

# A server that is a proxy of these connections: each has as many partitions in a row.
sub new_proxy
{
	my ($name, @connections) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(extra => [ '--encoding=UTF8', '--no-locale' ]);
	$node->append_conf('postgresql.conf', "max_connections = 60\nlog_statement = none");
	$node->start;
	$node->command_ok([ 'psql', '-X', '-q', '-1', '-v', 'ON_ERROR_STOP=1', '-f', "$contrib/proxy.sql", $node->connstr('postgres') ],
		"$name is a proxy");
	my $size = 256 / @connections;
	$node->safe_psql('postgres', sprintf "UPDATE shards.map SET connection = '%s' WHERE partition / $size = $_", $connections[$_])
	  for 0 .. $#connections;
	return $node;
}

# Kills the postmaster with SIGKILL.
sub crash
{
	my ($node) = @_;
	my $pid = $node->{_pid};
	$node->kill9;
	wait_until('the postmaster is gone', sub { !kill 0, $pid });
	return;
}

# A server starts when the last process of the one that crashed has seen that.
sub start_again
{
	my ($node) = @_;
	wait_until('the server starts', sub { $node->start(fail_ok => 1) });
	return;
}

# Clients at these proxies.
sub start_clients
{
	my %clients = (out => '');
	$clients{run} = IPC::Run::start([ "$FindBin::Bin/shards.py", map { $_->connstr('postgres') } @_ ], '>', \$clients{out});
	IPC::Run::pump($clients{run}) until $clients{out} =~ /running\n/;
	return \%clients;
}

# What they report. No code may have been redeemed twice or lost, and no reuse missed.
sub stop_clients
{
	my ($clients, $what) = @_;
	# A server that was started meanwhile has inherited our pipes.
	$clients->{run}->signal('TERM');
	IPC::Run::finish($clients->{run}) or die 'the clients failed';
	my $report = decode_json($clients->{out} =~ s/^running\n//r);
	note(encode_json($report));
	is_deeply($report->{twice}, [], "$what: no code was redeemed twice");
	is_deeply($report->{lost}, [], "$what: none was lost");
	is_deeply($report->{missed}, [], "$what: no reuse was missed");
	cmp_ok($report->{redeemed}, '>', 100, "$what: codes were redeemed");
	return $report;
}

1;
