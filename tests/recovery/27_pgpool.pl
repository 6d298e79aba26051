# Through Pgpool-II with read balancing, what only reads goes to a standby, and everything else to the primary. What a standby
# answers is as old as its replay.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# How each function is called, with CODE for a code that is live.
my $grant = grant();
my %calls = (
	code_issue => "code_issue('$grant')", code_put => "code_put('put CODE', '$grant', 4102444800)", code_get => "code_get('CODE')",
	code_inspect => "code_inspect('CODE')", code_take => "code_take('CODE')", code_mark_consumed => "code_mark_consumed('CODE')",
	code_redeem => "code_redeem('CODE', 'c', 'r')", code_complete => "code_complete('CODE')", code_hash => "code_hash('CODE')",
	code_record_access_token => "code_record_access_token('CODE', 'CODE', 4102444800)", code_revoke_family => "code_revoke_family('CODE')",
	code_access_token_revoked => "code_access_token_revoked('CODE')", code_family_revoked => "code_family_revoked('CODE')",
	code_stats => 'code_stats()', code_sweep => 'code_sweep()');
my @reads = qw(code_access_token_revoked code_family_revoked code_get code_hash code_inspect);

my $primary = new_primary('primary', 'log_statement = all', 'max_connections = 100');
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
my @nodes = ($primary, $standby);

my ($folder, $port, $pgpool);

# Starts pgpool in front of both. It reads from the standby alone, so that where a statement runs is no matter of chance.
sub start_pgpool
{
	my (@conf) = @_;
	$folder = PostgreSQL::Test::Utils::tempdir_short();
	$port = PostgreSQL::Test::Cluster::get_free_port();
	my $pcp_port = PostgreSQL::Test::Cluster::get_free_port();
	my $user = getpwuid($<);
	my @backends = map { ("backend_hostname$_ = '" . $nodes[$_]->host . "'", "backend_port$_ = " . $nodes[$_]->port,
		"backend_weight$_ = $_", "backend_flag$_ = 'DISALLOW_TO_FAILOVER'") } 0, 1;
	append_to_file("$folder/pgpool.conf", join("\n", "backend_clustering_mode = 'streaming_replication'", @backends,
		"listen_addresses = ''", "port = $port", "pcp_listen_addresses = ''", "pcp_port = $pcp_port",
		(map { "$_ = '$folder'" } qw(socket_dir pcp_socket_dir wd_ipc_socket_dir logdir)), "pid_file_name = '$folder/pid'",
		"sr_check_user = '$user'", 'sr_check_period = 1', 'num_init_children = 30', @conf, ''));
	append_to_file("$folder/$_", '') for 'pcp.conf', 'pool_hba.conf';
	$pgpool = IPC::Run::start([ 'pgpool', '-n', '-f', "$folder/pgpool.conf", '-F', "$folder/pcp.conf", '-a', "$folder/pool_hba.conf" ],
		'>', "$folder/log", '2>&1');
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if slurp_file("$folder/log") =~ /successfully started/;
		select undef, undef, undef, 0.1;
	}
	die "pgpool did not start:\n" . slurp_file("$folder/log");
}

sub stop_pgpool
{
	$pgpool->signal('INT');
	$pgpool->finish;
	undef $pgpool;
	return;
}
END { my $status = $?; stop_pgpool() if $pgpool; $? = $status; }

# The output of a command of pgpool's client, or the SQLSTATE of its error.
sub client
{
	my (@command) = @_;
	my ($out, $err) = ('', '');
	IPC::Run::run([ @command, '-h', $folder, '-p', $port ], '<', \undef, '>', \$out, '2>', \$err);
	chomp $out;
	return $err =~ /ERROR:  (\w{5})/ ? $1 : $out;
}

sub psql
{
	my ($sql, $db) = @_;
	return client('psql', '-X', '-q', '-A', '-t', '-v', 'VERBOSITY=sqlstate', '-c', $sql, '-d', $db // 'postgres');
}

# Where a statement ran that the extended protocol carries, or a simple message: 'primary' or 'standby', by the servers' logs.
my $marks = 0;

sub where
{
	my ($sql, $protocol) = @_;
	my $mark = 'mark_' . ++$marks;
	my @seen = map { -s $_->logfile } @nodes;
	if (($protocol // 'simple') eq 'simple')
	{
		psql("$sql AS $mark");
	}
	else
	{
		append_to_file("$folder/$mark", "$sql AS $mark\n");
		client('pgbench', '-n', '-M', 'extended', '-t', '1', '-f', "$folder/$mark", 'postgres');
	}
	return join ' ', map { slurp_file($nodes[$_]->logfile, $seen[$_]) =~ /$mark\b/ ? $nodes[$_]->name : () } 0, 1;
}

my $codes = 0;

# A code that is live on both.
sub live
{
	my $code = 'code ' . ++$codes;
	put($primary, $code);
	$primary->wait_for_catchup($standby);
	return $code;
}

sub state_of { return $primary->safe_psql('postgres', "SELECT status FROM code_inspect('$_[0]')"); }

sub call { return $calls{ $_[0] } =~ s/CODE/$_[1]/gr; }

# Which functions go where.
sub routed
{
	my ($protocol) = @_;
	my %to;
	push @{ $to{ where('SELECT FROM ' . call($_, live()), $protocol) } }, $_ for sort keys %calls;
	return join '; ', map { "$_: @{ $to{$_} }" } sort keys %to;
}

# The same, where these alone are sent to the standby.
sub read_from_standby
{
	my %is_read = map { $_ => 1 } @_;
	return 'primary: ' . join(' ', grep { !$is_read{$_} } sort keys %calls) . '; standby: ' . join(' ', @_);
}

my $functions = $primary->safe_psql('postgres', q(SELECT string_agg(proname, ' ' ORDER BY proname COLLATE "C")
	FROM pg_proc JOIN pg_depend ON objid = pg_proc.oid
	WHERE deptype = 'e' AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'attesto_codes') AND classid = 'pg_proc'::regclass));
is(join(' ', sort keys %calls), $functions, 'every function is known here');

start_pgpool();
is(routed($_), read_from_standby(@reads), "$_ protocol: what reads goes to the standby, by pgpool's defaults") for 'simple', 'extended';

# However a presentation is written.
for my $shape ("SELECT * FROM CALL", "SELECT * FROM public.CALL", "SELECT (CALL).status", "SELECT (SELECT status FROM CALL)",
	"WITH t AS (SELECT * FROM CALL) SELECT * FROM t", "SELECT 1 WHERE EXISTS (SELECT FROM CALL)", "VALUES ((SELECT status FROM CALL))",
	"SELECT FROM generate_series(1, 2), LATERAL CALL", "SELECT code_family_revoked('x'), status FROM CALL",
	"PREPARE p AS SELECT status FROM CALL; EXECUTE p", "SELECT code_family_revoked('x'); SELECT FROM CALL",
	"DO 'BEGIN PERFORM CALL; END'", "EXPLAIN ANALYZE SELECT FROM CALL",
	"DECLARE c CURSOR WITH HOLD FOR SELECT FROM CALL; FETCH c")
{
	my $code = live();
	my $call = $shape =~ /^DO/ ? call('code_take', $code) =~ s/'/''/gr : call('code_redeem', $code);
	psql($shape =~ s/CALL/$call/r);
	is(state_of($code), 'spent', "goes to the primary: $shape");
}
my $copied = live();
is(psql("COPY (SELECT status FROM code_take('$copied')) TO STDOUT"), '25006', 'COPY goes to the standby, which refuses it');
is(state_of($copied), 'live', 'and the code is live');

# One use, whatever is undone.
my @raced = map { live() } 1 .. 10;
$primary->safe_psql('postgres', 'CREATE TABLE answers (code text, status text)');
append_to_file("$folder/race", "SELECT status FROM code_redeem('$_', 'c', 'r') \\gset\nINSERT INTO answers VALUES ('$_', ':status');\n") for @raced;
client('pgbench', '-n', '-c', '20', '-j', '2', '-t', '1', '-f', "$folder/race", 'postgres');
is($primary->safe_psql('postgres', "SELECT DISTINCT string_agg(status, ' ' ORDER BY status DESC) FROM answers GROUP BY code"),
	join(' ', 'ok', ('error') x 19), '20 clients race for each of 10 codes: one ok, the others error');
for my $mode ('independent', 'join')
{
	my $code = live();
	psql("SET attesto_codes.take_in_transaction = '$mode'; BEGIN; SELECT FROM code_redeem('$code', 'c', 'r'); ROLLBACK");
	is(state_of($code), $mode eq 'join' ? 'live' : 'spent', "ROLLBACK, $mode");
}
for my $command ([ 'psql', '-X', '-q', '-A', '-t', '-c' ], [ 'pgbench', '-n', '-M', 'extended', '-t', '1', '-f' ])
{
	my $code = live();
	my $sql = "SELECT status FROM code_redeem('$code', 'c', 'r')";
	append_to_file("$folder/$code", $sql);
	local $ENV{PGOPTIONS} = '-c attesto_codes.take_in_transaction=refuse';
	client(@$command, $command->[0] eq 'psql' ? $sql : "$folder/$code", 'postgres');
	is(state_of($code), 'spent', "a redemption by $command->[0] is quick");
}
my $used = live();
append_to_file("$folder/presented", "BEGIN;\nSELECT FROM code_redeem('" . live() . "', 'c', 'r');\n"
	. "SELECT code_family_revoked('x') AS mark_presented;\nCOMMIT;\n");
client('pgbench', '-n', '-t', '1', '-f', "$folder/presented", 'postgres');
like(slurp_file($primary->logfile), qr/mark_presented/, 'after a presentation in the transaction what reads goes to the primary');
my $redeem = "SELECT FROM code_redeem('$used', 'c', 'r', meta => '{}')";
like(psql("LISTEN attesto_codes_reuse; $redeem; COMMIT; $redeem"),
	qr/Asynchronous notification "attesto_codes_reuse"/, 'a client of pgpool may listen');

# What a standby knows. Its replay is held up, as by a long query, a backup or a slow network.
sub family { return "SELECT code_family_revoked('$_[0]')"; }

sub held_up
{
	my ($work) = @_;
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_pause()');
	$standby->poll_query_until('postgres', "SELECT pg_get_wal_replay_pause_state() = 'paused'");
	$work->();
	$standby->safe_psql('postgres', 'SELECT pg_wal_replay_resume()');
	$primary->wait_for_catchup($standby);
	return;
}

my $reused = live();
$primary->safe_psql('postgres', "SELECT code_redeem('$reused', 'c', 'r'); SELECT code_complete('$reused', 'jti', 4102444800)");
$primary->wait_for_catchup($standby);
my $asked = "SELECT code_family_revoked('$reused'), code_access_token_revoked('jti')";
my $taken = live();
held_up(sub {
	put($primary, 'new');
	is(take($primary, $taken), 'ok', 'a code is spent on the primary');
	is(psql("SELECT status FROM code_inspect('$taken')"), 'live', 'the standby does not know it yet');
	is(psql("SELECT status FROM code_inspect('new')"), '', 'nor a new code');
	is(psql("SELECT status FROM code_redeem('$reused', 'c', 'r')"), 'consumed', 'a reuse revokes, on the primary');
	is(psql($asked), 'f|f', 'the standby does not know that either');
	is(psql("/*NO LOAD BALANCE*/ $asked"), 't|t', 'with a comment before it the question goes to the primary');
	is(psql("BEGIN; $asked; COMMIT"), 't|t', 'so it does in a message of several statements');
	append_to_file("$folder/ask", "BEGIN;\n$asked \\gset before_\nINSERT INTO answers VALUES ('x', 'x');\n$asked \\gset after_\nCOMMIT;\n"
		. "INSERT INTO answers VALUES ('asked', ':before_code_family_revoked :after_code_family_revoked');\n");
	client('pgbench', '-n', '-t', '1', '-f', "$folder/ask", 'postgres');
	is($primary->safe_psql('postgres', "SELECT status FROM answers WHERE code = 'asked'"), 'f t',
		'in a transaction it goes to the standby before the first write, and to the primary after it');
});
is(psql($asked), 't|t', 'once the replay goes on the standby knows it, too');
stop_pgpool();

start_pgpool("primary_routing_query_pattern_list = '.*code_family_revoked.*;.*code_access_token_revoked.*'");
is(routed(), read_from_standby(qw(code_get code_hash code_inspect)), 'primary_routing_query_pattern_list sends the two questions to the primary');
stop_pgpool();

# A late standby is left alone, from the next time on that pgpool looks.
start_pgpool('delay_threshold = 1');
my $late = live();
held_up(sub {
	$primary->safe_psql('postgres', "SELECT code_revoke_family('$late')");
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		last if psql(family($late)) eq 't';
		select undef, undef, undef, 0.1;
	}
	is(psql(family($late)), 't', 'with delay_threshold the question goes to the primary while the standby is late');
});
stop_pgpool();

start_pgpool('memory_cache_enabled = on', "memqcache_oiddir = '$folder'");
my $cached = live();
is(psql(family($cached)), 'f', 'with the query cache a family is not revoked');
$primary->safe_psql('postgres', "SELECT code_revoke_family('$cached')");
$primary->wait_for_catchup($standby);
is(psql(family($cached)), 't', 'and is asked for anew');
stop_pgpool();

# The commit waits until the standby shows it.
$primary->append_conf('postgresql.conf', "synchronous_standby_names = 'standby'\nsynchronous_commit = remote_apply\n");
$primary->reload;
start_pgpool();
my $applied = live();
$primary->safe_psql('postgres', "SELECT code_redeem('$applied', 'c', 'r', meta => '{}')");
my $out = '';
my $reuse;
held_up(sub {
	$reuse = IPC::Run::start([ 'psql', '-X', '-A', '-t', '-h', $folder, '-p', $port, '-d', 'postgres',
		'-c', "SELECT status FROM code_redeem('$applied', 'c', 'r')" ], '>', \$out);
	my $waits = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
	$primary->poll_query_until('postgres', $waits);
	$primary->wait_for_catchup($standby, 'flush');
	is($primary->safe_psql('postgres', $waits), 't', 'with remote_apply a reuse waits until the standby shows it');
});
$reuse->finish;
is($out . psql(family($applied)), "consumed\nt", 'and once it is answered, the standby shows it');
stop_pgpool();
$primary->append_conf('postgresql.conf', "synchronous_standby_names = ''\n");
$primary->reload;

# The lists. With one of them pgpool no longer looks at the volatility.
start_pgpool("write_function_list = 'currval,lastval,nextval,setval'");
my $refused = live();
is(psql("SELECT status FROM code_redeem('$refused', 'c', 'r')"), '25006',
	'a write_function_list without ours sends a redemption to the standby, which refuses it');
is(state_of($refused), 'live', 'and the code is live');
stop_pgpool();
my $writes = join '|', map { s/code_//r } grep { my $name = $_; !grep { $_ eq $name } @reads } sort keys %calls;
start_pgpool("write_function_list = 'nextval,setval,code_($writes)'");
is(routed(), read_from_standby(@reads), 'a write_function_list with ours');
stop_pgpool();
start_pgpool("read_only_function_list = 'code_get,code_inspect'");
is(routed(), read_from_standby(qw(code_get code_inspect)), 'with a read_only_function_list the others go to the primary');
stop_pgpool();

# pgpool remembers what it has looked up.
start_pgpool();
$primary->safe_psql('postgres', 'CREATE DATABASE early');
$primary->wait_for_catchup($standby);
is(psql("SELECT FROM code_take('x')", 'early'), '42883', 'a call before CREATE EXTENSION');
$primary->safe_psql('early', 'CREATE EXTENSION attesto_codes');
$primary->wait_for_catchup($standby);
is(psql("SELECT FROM code_take('x')", 'early'), '25006', 'after it pgpool still takes code_take for a function that reads');
stop_pgpool();
start_pgpool();
is(psql("SELECT status FROM code_take('x')", 'early'), 'error', 'until it is started anew');
stop_pgpool();

done_testing();
