# The only place for a background worker is taken, by a query that runs in a parallel worker. Each caller learns that after
# three seconds of its own, and what it asked for is done then or never.
use strict;
use warnings;
use AttestoCodes;
use Test::More;

my $node = new_primary('no_place', 'max_connections = 50', 'max_worker_processes = 1', 'max_parallel_workers = 1',
	'max_logical_replication_workers = 0', 'autovacuum = off');
my $grant = grant();
my $named = "SELECT count(*) FROM pg_stat_activity WHERE application_name";

sub sql { return $node->safe_psql('postgres', $_[0]); }
sub until_true { return $node->poll_query_until('postgres', $_[0]) || die "never came true: $_[0]"; }

sub put_one { my ($code) = @_; sql("SELECT code_put('$code', '$grant', 4102444800)"); return; }
sub is_live { my ($code) = @_; return sql("SELECT count(*) FROM code_get('$code')"); }

my $take_place = "SELECT set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query');\n"
  . "SET application_name = 'taker'; SELECT pg_sleep(600);\n";

# A session that sends its statements and goes on without their answers. `out` and `err` fill up until `finish`.
sub begin_session
{
	my ($sql) = @_;
	my %session = (in => $sql, out => '', err => '');
	$session{run} = IPC::Run::start(
		[ 'psql', '-XqAt', '-v', 'VERBOSITY=sqlstate', '-d', $node->connstr('postgres') ],
		'<', \$session{in}, '>', \$session{out}, '2>', \$session{err}, IPC::Run::timer(300));
	$session{run}->pump while length $session{in};
	return \%session;
}

sub answer_of { my ($session) = @_; $session->{run}->finish; return $session->{out} . $session->{err}; }

sub end_worker
{
	return until_true("SELECT coalesce(bool_and(pg_terminate_backend(pid, 10000)), true) FROM pg_stat_activity
		WHERE application_name = 'attesto_codes resident'");
}

sub take_place
{
	end_worker();
	my $taker = begin_session($take_place);
	until_true("SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
	return $taker;
}

sub give_place
{
	my ($taker) = @_;
	sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'taker' AND backend_type = 'client backend'");
	answer_of($taker);
	until_true("SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'parallel worker'");
	return;
}

# Named after its code, by which the tests find it.
sub begin_take
{
	my ($code, $timeout, $times) = ($_[0], $_[1] // '60s', $_[2] // 1);
	return begin_session("SET application_name = '$code'; SET statement_timeout = '$timeout';\n"
		  . "BEGIN;\nSELECT status FROM code_take('$code');\nROLLBACK;\n" x $times);
}

# It has sent its order: a caller waits on its latch.
sub until_it_waits { my ($code) = @_; return until_true("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = '$code' AND wait_event_type = 'Extension'"); }

sub pid_of { my ($name) = @_; return sql("SELECT pid FROM pg_stat_activity WHERE application_name = '$name'"); }

# The database has a queue from now on, as long as this session lives.
put_one('first');
my $keeper = $node->background_psql('postgres');
like($keeper->query_safe("BEGIN;\nSELECT status FROM code_take('first');\nROLLBACK"), qr/ok/, 'a take starts a worker');
until_true("SELECT ($named = 'attesto_codes resident') = 1");
$keeper->query_safe('SELECT puts FROM code_stats()');

# Nobody waits for the patience of the others, nor for those that came later. The timeout is a multiple of three seconds.
put_one("of eight $_") for 1 .. 8;
my $taker = take_place();
my @eight = map { begin_take("of eight $_", '15s', 6) } 1 .. 8;
is(answer_of($_), "ERROR:  53400\n" x 6, 'no place: 53400, each time') for @eight;
is(is_live("of eight $_"), 1, 'and the code is live') for 1 .. 8;

# Callers that are terminated while they wait leave no order behind, and nobody waits for the worker that one of them would
# have started.
put_one($_) for 'of the first', 'of the second', 'after them';
my @terminated = map { my $take = begin_take($_); until_it_waits($_); $take } 'of the first', 'of the second';
sql("SELECT pg_terminate_backend(" . pid_of($_) . ", 10000)") for 'of the second', 'of the first';
like(answer_of($_), qr/57P01/, 'a caller is terminated while it waits') for @terminated;
my $after = begin_take('after them');
until_it_waits('after them');
give_place($taker);
is(answer_of($after), "ok\n", 'the next one starts a worker as soon as there is a place');
is(is_live($_), 1, 'which does not carry out what was asked for by a caller that is gone') for 'of the first', 'of the second';

# Where no commit ends, all wait for one worker, also if there is no queue before.
put_one("of four $_") for 1 .. 4;
$keeper->quit;
end_worker();
sql('TRUNCATE authorization_queue');
$node->append_conf('postgresql.conf', "synchronous_standby_names = 'nobody'");
$node->reload;
my @four = map { begin_take("of four $_", '6s') } 1 .. 4;
is(answer_of($_), "ERROR:  57014\n", 'a commit that waits for a standby takes one place, and no caller is told that there is none') for @four;
$node->append_conf('postgresql.conf', "synchronous_standby_names = ''");
$node->reload;

# A worker that makes a queue leaves for a caller of another database, before its own caller has found the queue. The caller then
# has another one made. A worker cannot connect while pg_database is locked.
sub connected
{
	my ($database) = @_;
	my $session = $node->background_psql($database);
	$session->query_safe('SELECT code_stats()');
	return $session;
}

# A take in a transaction, whose answer comes with that of the next query.
sub send_take
{
	my ($session, $code) = @_;
	$session->{stdin} .= "BEGIN;\nSELECT status FROM code_take('$code');\nROLLBACK;\n";
	$session->{run}->pump_nb while length $session->{stdin};
	return;
}

sql('CREATE DATABASE other');
$node->safe_psql('other', "CREATE EXTENSION attesto_codes; SELECT code_put('of other', '$grant', 4102444800)");
put_one('overtaken');
end_worker();
sql('TRUNCATE authorization_queue');
my ($overtaken, $of_other, $locker, $watcher) = map { connected($_) } 'postgres', 'other', 'postgres', 'postgres';
my $is_true = sub { return $watcher->query_safe("SELECT $_[0]") eq 't' };
my $overtaken_pid = $overtaken->query_safe('SELECT pg_backend_pid()');
$locker->query_safe("BEGIN;\nLOCK pg_database IN ACCESS EXCLUSIVE MODE");
send_take($overtaken, 'overtaken');
wait_until('a worker connects',
	sub { $is_true->("count(*) = 1 FROM pg_locks WHERE relation = 'pg_database'::regclass AND NOT granted") });
send_take($of_other, 'of other');
wait_until('another caller wants its place',
	sub { $is_true->("count(*) = 1 FROM pg_locks WHERE locktype = 'object' AND mode = 'ShareLock' AND objid = 0") });
kill 'STOP', $overtaken_pid;
$locker->query_safe('COMMIT');
like($of_other->query_safe('SELECT 1'), qr/^ok\n/, 'a worker that made a queue leaves for another database');
kill 'CONT', $overtaken_pid;
like($overtaken->query_safe('SELECT 1'), qr/^ok\n/, 'its caller is answered all the same');
is(sql("$named = 'attesto_codes resident' AND datname = 'postgres'"), '1', 'by a worker that stays');
$_->quit for $overtaken, $of_other, $locker, $watcher;

put_one('again');
$keeper = $node->background_psql('postgres');
like($keeper->query_safe("BEGIN;\nSELECT status FROM code_take('again');\nROLLBACK"), qr/ok/, 'later takes go on');
until_true("SELECT ($named = 'attesto_codes resident') = 1");

# A caller that starts a worker is stopped. Another one starts it in its place, and that worker has the order of the first one, but
# does not come to answer it, when the first one goes on and finds no place.
sql(q{CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_catalog.pg_advisory_xact_lock(1); RETURN NEW; END';
	CREATE TRIGGER wait BEFORE UPDATE ON authorizations FOR EACH ROW EXECUTE FUNCTION wait()});
put_one($_) for 'of the stopped', 'of the other';
$taker = take_place();
my $stopped = begin_take('of the stopped');
until_it_waits('of the stopped');
my $stopped_pid = pid_of('of the stopped');
kill 'STOP', $stopped_pid;
give_place($taker);
my $holder = $node->background_psql('postgres');
$holder->query_safe('SELECT pg_advisory_lock(1)');
# At first the other one waits for the first, and gives up.
my $other = begin_take('of the other', '60s', 3);
until_true("SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'attesto_codes resident' AND wait_event = 'advisory'");
my $worker = pid_of('attesto_codes resident');
kill 'STOP', $worker;
kill 'CONT', $stopped_pid;
until_it_waits('of the stopped');
$holder->query_safe('SELECT pg_advisory_unlock(1)');
kill 'CONT', $worker;
my %answers = ('of the stopped' => answer_of($stopped), 'of the other' => answer_of($other));
for my $code (sort keys %answers)
{
	# The order waited for the lock as long as it may, or not.
	my $wanted = is_live($code) ? qr/ERROR:  55P03/ : qr/^ok$/m;
	like($answers{$code}, $wanted, "$code: the answer says what became of the code");
}
$_->quit for $holder, $keeper;

done_testing();
