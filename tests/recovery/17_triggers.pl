# What an administrator's triggers may do where a worker commits a take, one a call and the resident one: raise an error, at
# once or at the commit, wait, undo the write, take codes themselves. The caller has an error and the code is as it was, and
# other callers do not notice.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('triggers');
my %ways = (
	'alone' => "SELECT status FROM code_take('%s')",
	'in a transaction' => "BEGIN;\nSELECT status FROM code_take('%s');\nCOMMIT");

sub value { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }

value(q(
	CREATE TABLE audit (code_hash text);
	CREATE TABLE gate (closed boolean);
	CREATE FUNCTION answer_or_error(code_hash text) RETURNS text LANGUAGE plpgsql AS $$
	BEGIN
		RETURN (SELECT status FROM code_take(code_hash));
	EXCEPTION WHEN OTHERS THEN RETURN SQLSTATE;
	END $$));

# Makes a trigger for the time of some work. It is named by what follows CREATE, its event, and its options.
sub with_trigger
{
	my ($name, $event, $options, $body, $work) = @_;
	my ($function) = $name =~ /(\w+) \w+$/;
	value(qq(CREATE FUNCTION $function() RETURNS trigger LANGUAGE plpgsql AS \$\$ BEGIN $body; RETURN NEW; END \$\$;
		CREATE $name $event $options FOR EACH ROW EXECUTE FUNCTION $function()));
	$work->();
	value("DROP FUNCTION $function CASCADE");
	return;
}
my $update = 'UPDATE ON authorizations';
my @at_once = ('TRIGGER act AFTER', $update, '');
my @deferred = ('CONSTRAINT TRIGGER act AFTER', $update, 'DEFERRABLE INITIALLY DEFERRED');

# A trigger that fires when the worker commits: where nothing is done about it a deferred one fires before.
sub with_trigger_at_commit
{
	my ($body, $work) = @_;
	with_trigger('TRIGGER defer BEFORE', $update, '', 'SET CONSTRAINTS ALL DEFERRED', sub { with_trigger(@deferred, $body, $work) });
	return;
}

# A take that fails: what the caller is told, and that the code is as it was.
sub fails
{
	my ($way, $code, $sqlstate, $name) = @_;
	put($node, $code);
	# Where it hung, that would be another error.
	my ($status, $out, $err) = $node->psql('postgres',
		"SET statement_timeout = '30s';\n\\set VERBOSITY verbose\n" . sprintf($ways{$way}, $code));
	like($err, qr/ERROR:  \Q$sqlstate\E/, "$name, $way: the caller has the error");
	unlike($out, qr/ok/, "$name, $way: nothing is handed out");
	is(value("SELECT count(*) FROM code_get('$code')"), 1, "$name, $way: the code is live");
	return $err;
}

my $resident = q(SELECT pid FROM pg_stat_activity WHERE application_name = 'attesto_codes resident');
my $raise = q(IF NEW.code_hash LIKE '%bad%' THEN RAISE 'closed today' USING ERRCODE = 'UX001', DETAIL = 'It is Sunday.', HINT = 'Come back.'; END IF);

sub errors
{
	my ($mode, $name, $with) = @_;
	$with->($raise, sub {
		for my $way (sort keys %ways)
		{
			my $err = fails($way, "$mode $name $way bad", 'UX001: closed today', "$mode: $name");
			like($err, qr/DETAIL:  It is Sunday\.\nHINT:  Come back\./, "$mode: $name, $way: as the trigger said it");
		}
		put($node, "$mode $name $_") for 1, 2, 'bad';
		my @told = split /\n/, value("SELECT answer_or_error('$mode $name 1'); $resident; SELECT answer_or_error('$mode $name bad'); SELECT answer_or_error('$mode $name 2'); $resident");
		my @pids = grep { /^\d+$/ } @told;
		is("@{[ grep { !/^\d+$/ } @told ]}", 'ok UX001 ok', "$mode: $name, others before and after it");
		is(scalar(@pids), $mode eq 'resident' ? 2 : 0, "$mode: $name, there is a resident worker");
		is($pids[0], $pids[1], "$mode: $name, it lives on");
	});
	return;
}

# Sends a take, and goes on when it waits for the worker.
sub send_take
{
	my ($session, $code) = @_;
	$session->query_until(qr/sent/, "\\echo sent\nSELECT answer_or_error('$code');\n");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query LIKE '%''$code''%' AND wait_event IN ('Extension', 'ClientRead')");
	return;
}

# What a session was told.
sub told { my ($session) = @_; return $session->query('SELECT 1') =~ /(\w+)/ ? $1 : ''; }

# Orders that the resident worker takes together.
sub batch
{
	my @codes = ('batch 1', 'batch 2 bad', 'batch 3', 'batch 4 bad', 'batch 5');
	put($node, $_) for 'first', 'second', @codes;
	value('INSERT INTO gate VALUES (true)');
	with_trigger(@at_once, "$raise; WHILE EXISTS (SELECT FROM public.gate) LOOP PERFORM pg_sleep(0.01); END LOOP", sub {
		my ($first, @others) = my @sessions = map { $node->background_psql('postgres', on_error_stop => 0) } 'first', @codes;
		send_take($first, 'first');
		value(q(SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE '%''first''%' AND pid <> pg_backend_pid()));
		$first->query('SELECT 1');
		like($first->{stderr}, qr/canceling statement due to user request/, 'resident: a take can be cancelled while a trigger does not end');
		$first->{stderr} = '';
		send_take($first, 'second');
		send_take($others[$_], $codes[$_]) for 0 .. $#codes;
		is(value("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT answer_or_error%' AND wait_event = 'Extension'"), 6,
			'resident: all wait for the worker');
		value('DELETE FROM gate');
		is(join(' ', map { told($_) } @sessions), 'ok ok UX001 ok UX001 ok', 'resident: an error of some disturbs none that are carried out with them');
		$_->quit for @sessions;
	});
	is(value("SELECT string_agg(code_hash, ', ' ORDER BY code_hash) FROM authorizations WHERE code_hash LIKE 'batch%' AND consumed_at IS NULL"),
		'batch 2 bad, batch 4 bad', 'resident: and those stay live');
	is(take($node, 'first'), 'error', 'resident: the code of the cancelled take is spent');
	return;
}

sub undoes
{
	my ($mode, $name, $with) = @_;
	my $undo = 'IF NEW.consumed_at IS NOT NULL THEN UPDATE public.authorizations SET consumed_at = NULL WHERE code_hash = NEW.code_hash; END IF';
	$with->($undo, sub { fails($_, "$mode $name $_ undone", '55000', "$mode: the spend is undone, $name") for sort keys %ways });
	return;
}

# A presentation inside a trigger, of the table and of one that a trigger writes to.
sub takes_inside
{
	my ($mode) = @_;
	my $take = q(PERFORM status FROM public.code_take('inside'));
	my $audit = q(INSERT INTO public.audit VALUES (NEW.code_hash));
	my @of_audit = ('CONSTRAINT TRIGGER take AFTER', 'INSERT ON audit', 'DEFERRABLE INITIALLY DEFERRED', $take);
	for my $way (sort keys %ways)
	{
		with_trigger(@at_once, $take, sub { fails($way, "$mode $way take 1", '25001', "$mode: a trigger takes a code") });
		with_trigger(@deferred, $take, sub { fails($way, "$mode $way take 2", '25001', "$mode: a deferred one does") });
		with_trigger(@of_audit, sub {
			with_trigger(@at_once, $audit, sub { fails($way, "$mode $way take 3", '25001', "$mode: one of an audit table does") });
			with_trigger(@at_once, "SET CONSTRAINTS ALL DEFERRED; $audit", sub { fails($way, "$mode $way take 4", '25001', "$mode: one of an audit table does, at the commit") });
		});
	}
	my $mark = "SELECT code_mark_consumed('$mode spent')";
	put($node, "$mode spent");
	take($node, "$mode spent");
	with_trigger(@at_once, $take, sub { is(error_of($node, $mark), '25001', "$mode: the trigger of a mark takes a code") });
	with_trigger(@deferred, $take, sub { is(error_of($node, $mark), '25001', "$mode: a deferred trigger of a mark takes a code") });
	with_trigger('TRIGGER act AFTER', 'INSERT ON authorizations', '', $take,
		sub { is(error_of($node, "SELECT code_put('$mode put', '${\ grant()}', 1)"), '25001', "$mode: the trigger of a put takes a code") });
	is(value($mark), 'ok', "$mode: the mark goes through after that");
	is(value("SELECT count(*) FROM code_get('inside')"), 1, "$mode: no trigger took a code");
	return;
}

# Triggers of the revocations, where a replay by code_redeem is to revoke: the replay is not noted, and nothing is revoked.
sub of_revocations
{
	my ($mode) = @_;
	my ($insert, $is_ours) = ('INSERT ON authorization_revoked_families', q(NEW.family_id LIKE '%of revocations%'));
	my $delete = "IF $is_ours THEN DELETE FROM public.authorization_revoked_families WHERE revocation = NEW.revocation; END IF";
	my $raise = "IF $is_ours THEN RAISE 'closed today' USING ERRCODE = 'UX001'; END IF";
	my %bodies = (
		'raises' => [ 'UX001', 'TRIGGER act AFTER', $insert, '', $raise ],
		'raises at the end' => [ 'UX001', 'CONSTRAINT TRIGGER act AFTER', $insert, 'DEFERRABLE INITIALLY DEFERRED', $raise ],
		'skips' => [ '55000', 'TRIGGER act BEFORE', $insert, '', "IF $is_ours THEN RETURN NULL; END IF" ],
		'undoes' => [ '55000', 'TRIGGER act AFTER', $insert, '', $delete ],
		'undoes at the end' => [ '55000', 'CONSTRAINT TRIGGER act AFTER', $insert, 'DEFERRABLE INITIALLY DEFERRED', $delete ],
		'presents a code' => [ '25001', 'TRIGGER act AFTER', $insert, '', q(PERFORM status FROM public.code_redeem('inside', 'c', 'r')) ]);
	for my $name (sort keys %bodies)
	{
		my ($sqlstate, @trigger) = @{ $bodies{$name} };
		for my $way (sort keys %ways)
		{
			my $code = "$mode of revocations $name $way";
			my $replay = $ways{$way} =~ s/code_take\('%s'\)/code_redeem('$code', 'c', 'r')/r;
			my $left = "SELECT replayed_at IS NOT NULL, (SELECT count(*) FROM authorization_revoked_families WHERE family_id = code_hash) FROM authorizations WHERE code_hash = '$code'";
			put($node, $code);
			take($node, $code);
			with_trigger(@trigger, sub { is(error_of($node, "SET statement_timeout = '30s';\n$replay"), $sqlstate, "$mode: a trigger of the revocations $name, $way") });
			is(value($left), 'f|0', "$mode: nothing is written, $way");
			is(value($replay), 'error', "$mode: the replay goes through after that, $way");
			is(value($left), 't|1', "$mode: and is noted and revokes, $way");
		}
	}
	return;
}

my %kinds = (
	'at once' => sub { with_trigger(@at_once, @_) },
	'deferred' => sub { with_trigger(@deferred, @_) },
	'at the commit' => \&with_trigger_at_commit);
put($node, 'inside');
for my $mode ('one a call', 'resident')
{
	# A queue with a constraint that an administrator added is not published.
	$node->safe_psql('postgres', 'ALTER TABLE authorization_queue ' . ($mode eq 'resident' ? 'DROP CONSTRAINT mine' : 'ADD CONSTRAINT mine CHECK (true)'));
	$node->restart;
	errors($mode, $_, $kinds{$_}) for sort keys %kinds;
	undoes($mode, $_, $kinds{$_}) for sort keys %kinds;
	batch() if $mode eq 'resident';
	takes_inside($mode);
	of_revocations($mode);
}

$node->stop;
done_testing();
