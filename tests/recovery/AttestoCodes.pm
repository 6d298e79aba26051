# What the tests of this folder share: a cluster with the extension, and codes to put into it.
package AttestoCodes;

use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_primary grant put take error_of bound kill_backend wait_until);

# While a server recovers, a psql that cannot connect may be gone before its query is written to it, and IPC::Run
# dies of that. To a poll it is an answer like another one.
{
	no warnings 'redefine';
	my $poll = \&PostgreSQL::Test::Cluster::poll_query_until;
	*PostgreSQL::Test::Cluster::poll_query_until = sub {
		my @arguments = @_;
		my $result;
		until (eval { $result = $poll->(@arguments); 1 })
		{
			die $@ unless $@ =~ /^ack Broken pipe/;
		}
		return $result;
	};
}

# A started primary whose logging is PostgreSQL's default, as a production server's would be:
# the test framework turns on more. Nothing is swept by itself. @conf: further lines of postgresql.conf.
sub new_primary
{
	my ($name, @conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init(allows_streaming => 1, extra => [ '--encoding=UTF8', '--no-locale' ]);
	$node->append_conf('postgresql.conf', join("\n",
		'log_statement = none', 'log_replication_commands = off', "log_line_prefix = '%m [%p] '",
		'fsync = on', 'attesto_codes.sweep_interval = 0', @conf, ''));
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION attesto_codes');
	return $node;
}

# A grant as JSON text; a hash reference of SQL-safe members overrides the defaults.
sub grant
{
	my (%members) = (client_id => 'c', subject => 's', redirect_uri => 'r', @_);
	return '{' . join(', ', map { qq("$_": "$members{$_}") } sort keys %members) . '}';
}

sub put
{
	my ($node, $hash, %members) = @_;
	my $grant = grant(%members);
	# On disk, whatever the server's default is.
	$node->safe_psql('postgres', "SET synchronous_commit = on; SELECT code_put('$hash', '$grant', 1800000000)");
	return;
}

sub take
{
	my ($node, $hash, $db) = @_;
	return $node->safe_psql($db // 'postgres', "SELECT status FROM code_take('$hash')");
}

# The SQLSTATE that a statement ends with, '' where it succeeds.
sub error_of
{
	my ($node, $sql, $db) = @_;
	my ($status, $out, $err) =
	  $node->psql($db // 'postgres', "\\set VERBOSITY sqlstate\n$sql", on_error_stop => 1);
	return $err =~ /ERROR:  (\w+)/ ? $1 : $err;
}

# Runs a statement once with :name variables sent as bound parameters, as a driver does, and
# returns what the client was told. pgbench is the one tool at hand that binds.
sub bound
{
	my ($node, $sql, %variables) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
	append_to_file($script, "$sql\n");
	my ($out, $err) = ('', '');
	IPC::Run::run(
		[ 'pgbench', '-n', '-M', 'extended', '-t', '1', '-f', $script, '-h', $node->host, '-p', $node->port,
		  (map { ('-D', "$_=$variables{$_}") } sort keys %variables), 'postgres' ],
		'>', \$out, '2>', \$err);
	return $out . $err;
}

# Kills a backend, upon which the server crashes and recovers, and waits until it is back. The server goes on for a moment
# before, until it has seen that the backend is gone.
sub kill_backend
{
	my ($node) = @_;
	my $session = $node->background_psql('postgres');
	my $pid = $session->query_safe('SELECT pg_backend_pid()');
	my $seen = -s $node->logfile;
	kill 'KILL', $pid;
	$session->{run}->finish;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if slurp_file($node->logfile, $seen) =~ /ready to accept connections/;
		select undef, undef, undef, 0.1;
	}
	die 'the server did not come back';
}

# Polls until it is so, for what SQL cannot ask.
sub wait_until
{
	my ($what, $is_so) = @_;
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if $is_so->();
		select undef, undef, undef, 0.1;
	}
	die "$what: this did not happen";
}

1;
