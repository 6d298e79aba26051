# The counters of code_stats(): what each event adds to, whatever becomes of its transaction; for each database,
# since the start of the server; and none without shared_preload_libraries.
use strict;
use warnings;
use AttestoCodes;
use Test::More;

my @names = qw(puts takes_ok takes_consumed takes_error marks_ok marks_replayed marks_missing reuses sweeps rows_swept
  spends_statement spends_oneshot spends_resident spends_joined
  redeems_ok redeems_consumed redeems_unknown redeems_expired redeems_client_mismatch redeems_redirect_uri_mismatch redeems_pkce_failed
  redeems_dpop_proof_required redeems_dpop_binding_mismatch redeems_revoked redeems_spent completes revocations_by_reuse);
my $node = new_primary('counters');

sub rolled_back { return "BEGIN; $_[0] ROLLBACK;"; }

sub counters
{
	my ($db) = @_;
	my %counters;
	@counters{@names} = split /\|/, $node->safe_psql($db // 'postgres', 'SELECT ' . join(', ', @names) . ' FROM code_stats()'), -1;
	return %counters;
}

# What a script adds to the counters, as "name number", by name.
sub counted
{
	my ($sql) = @_;
	my %before = counters();
	$node->psql('postgres', $sql);
	my %after = counters();
	return join ', ', map { "$_ " . ($after{$_} - $before{$_}) } grep { $after{$_} != $before{$_} } sort @names;
}

my %none = counters();
is(join('', values %none), '', 'without preload there are none');

# No worker sweeps meanwhile.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'attesto_codes'\nattesto_codes.sweep_interval = 0\n");
$node->restart;
my %zero = counters();
is(join(' ', map { $zero{$_} } @names), join(' ', (0) x @names), 'with preload they begin at 0');

my $grant = grant();
my $put = "SELECT code_put('%s', '$grant', 1);";
put($node, $_) for 'alone', 'block', 'joined', 'spent', 'first';
# The first one in a transaction starts the resident worker.
$node->safe_psql('postgres', rolled_back("SELECT * FROM code_take('first');"));
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE application_name = 'attesto_codes resident'");
take($node, 'spent');
put($node, $_) for 'redeem', 'redeem block', 'redeem joined', 'redeem marked', 'redeem spent', 'redeem taken', 'wrong client', 'wrong client in a block', 'wrong uri', 'revoked', 'no revocation', 'redeem own';
put($node, 'challenge', code_challenge => 'x');
put($node, $_, dpop_jkt => 'x') for 'no proof', 'wrong proof';
$node->safe_psql('postgres', sprintf($put, 'expired') . "SELECT code_revoke_family('revoked')");

my @cases = (
	[ 'a put', rolled_back(sprintf $put, 'undone'), 'puts 1' ],
	[ 'a put of a code that exists', sprintf($put, 'alone'), '' ],
	[ 'a take that finds nothing', rolled_back("SELECT code_take('nothing');"), 'takes_error 1' ],
	[ 'a mark that finds nothing', rolled_back("SELECT code_mark_consumed('nothing');"), 'marks_missing 1' ],
	[ 'a mark of a live code', rolled_back("SELECT code_mark_consumed('alone');"), '' ],
	[ 'a take as a statement of its own', "SELECT * FROM code_take('alone');", 'spends_statement 1, takes_ok 1' ],
	[ 'a take in a transaction', rolled_back("SELECT * FROM code_take('block');"), 'spends_resident 1, takes_ok 1' ],
	[ 'a take that joins', "SET attesto_codes.take_in_transaction = 'join'; " . rolled_back("SELECT * FROM code_take('joined');"), 'spends_joined 1, takes_ok 1' ],
	[ 'a put and its take', rolled_back(sprintf($put, 'own') . " SELECT * FROM code_take('own');"), 'puts 1, spends_joined 1, takes_ok 1' ],
	[ 'a mark', rolled_back("SELECT code_mark_consumed('alone');"), 'marks_ok 1' ],
	[ 'a replay', rolled_back("SELECT * FROM code_take('spent');"), 'takes_error 1' ],
	[ 'a mark after it', "SELECT code_mark_consumed('spent');", 'marks_replayed 1' ],
	[ 'a reuse', rolled_back("SELECT * FROM code_take('spent');"), 'reuses 1, takes_consumed 1' ],
	[ 'a second one', "SELECT * FROM code_take('spent');", 'takes_consumed 1' ],
	# Each answer of code_redeem. A presentation that fails a check spends a live code, too.
	[ 'a redemption', "SELECT * FROM code_redeem('redeem', 'c', 'r');", 'redeems_ok 1, spends_statement 1' ],
	[ 'a redemption in a transaction', rolled_back("SELECT * FROM code_redeem('redeem block', 'c', 'r');"), 'redeems_ok 1, spends_resident 1' ],
	[ 'a redemption that joins', "SET attesto_codes.take_in_transaction = 'join'; " . rolled_back("SELECT * FROM code_redeem('redeem joined', 'c', 'r');"), 'redeems_ok 1, spends_joined 1' ],
	[ 'a redemption with meta', "SELECT * FROM code_redeem('redeem marked', 'c', 'r', meta => '{}');", 'redeems_ok 1, spends_statement 1' ],
	[ 'a put and its redemption', rolled_back(sprintf($put =~ s/, 1\)/, 4102444800)/r, 'own redeem') . " SELECT * FROM code_redeem('own redeem', 'c', 'r');"), 'puts 1, redeems_ok 1, spends_joined 1' ],
	[ 'a redemption that finds nothing', "SELECT * FROM code_redeem('nothing', 'c', 'r');", 'redeems_unknown 1' ],
	[ 'a redemption that is too late', "SELECT * FROM code_redeem('expired', 'c', 'r');", 'redeems_expired 1, spends_statement 1' ],
	[ 'one by another client', "SELECT * FROM code_redeem('wrong client', 'd', 'r');", 'redeems_client_mismatch 1, spends_statement 1' ],
	[ 'one by another client in a transaction', rolled_back("SELECT * FROM code_redeem('wrong client in a block', 'd', 'r');"), 'redeems_client_mismatch 1, spends_resident 1' ],
	[ 'one with another redirect_uri', "SELECT * FROM code_redeem('wrong uri', 'c', 'R');", 'redeems_redirect_uri_mismatch 1, spends_statement 1' ],
	[ 'one without a verifier', "SELECT * FROM code_redeem('challenge', 'c', 'r');", 'redeems_pkce_failed 1, spends_statement 1' ],
	[ 'one without a proof', "SELECT * FROM code_redeem('no proof', 'c', 'r');", 'redeems_dpop_proof_required 1, spends_statement 1' ],
	[ 'one with another proof', "SELECT * FROM code_redeem('wrong proof', 'c', 'r', NULL, 'y');", 'redeems_dpop_binding_mismatch 1, spends_statement 1' ],
	[ 'one of a revoked code', "SELECT * FROM code_redeem('revoked', 'c', 'r');", 'redeems_revoked 1, spends_statement 1' ],
	[ 'one of a closed code', "SELECT * FROM code_redeem('wrong client', 'c', 'r');", 'redeems_spent 1' ],
	[ 'one of a spent code that fails a check', "SELECT * FROM code_redeem('redeem block', 'd', 'r');", 'redeems_client_mismatch 1' ],
	[ 'a redemption with arguments that are not allowed', "SELECT * FROM code_redeem('redeem taken', 'c', 'r', meta => '[]');", '' ],
	# A replay and a reuse revoke, once.
	[ 'a replay', "SELECT * FROM code_redeem('redeem block', 'c', 'r');", 'redeems_spent 1, revocations_by_reuse 1' ],
	[ 'a second replay', rolled_back("SELECT * FROM code_redeem('redeem block', 'c', 'r');"), 'redeems_spent 1' ],
	[ 'a completion after it', "SELECT code_complete('redeem block');", '' ],
	[ 'a take and a replay by code_take', "SELECT * FROM code_take('redeem taken'); SELECT * FROM code_take('redeem taken');", 'spends_statement 1, takes_error 1, takes_ok 1' ],
	[ 'a replay in a transaction', rolled_back("SELECT * FROM code_redeem('redeem taken', 'c', 'r');"), 'redeems_spent 1, revocations_by_reuse 1' ],
	[ 'a completion that is rolled back', rolled_back("SELECT code_complete('redeem', 'j', 4102444800);"), 'completes 1' ],
	[ 'a completion', "SELECT code_complete('redeem', 'j', 4102444800);", 'completes 1' ],
	[ 'one more for the redeemed code', "SELECT code_complete('redeem marked', 'k', 4102444800);", 'completes 1' ],
	[ 'a completion that finds nothing', "SELECT code_complete('nothing');", '' ],
	[ 'a reuse in a transaction', rolled_back("SELECT * FROM code_redeem('redeem', 'c', 'r');"), 'redeems_consumed 1, reuses 1, revocations_by_reuse 1' ],
	[ 'a second reuse', "SELECT * FROM code_redeem('redeem', 'c', 'r');", 'redeems_consumed 1' ],
	[ 'a reuse', "SELECT * FROM code_redeem('redeem marked', 'c', 'r');", 'redeems_consumed 1, reuses 1, revocations_by_reuse 1' ],
	[ 'one more redemption', "SELECT * FROM code_redeem('redeem own', 'c', 'r');", 'redeems_ok 1, spends_statement 1' ],
	[ 'a reuse that may not revoke', "SELECT * FROM code_redeem('no revocation', 'c', 'r', meta => '{}'); SET attesto_codes.revoke_on_reuse = off; SELECT * FROM code_redeem('no revocation', 'c', 'r');",
		'redeems_consumed 1, redeems_ok 1, reuses 1, spends_statement 1' ],
	[ 'a revocation by a later one', rolled_back("SELECT * FROM code_redeem('no revocation', 'c', 'r');"), 'redeems_consumed 1, revocations_by_reuse 1' ],
	[ 'a code that is redeemed again and again in one transaction', "BEGIN; SELECT code_complete('redeem own'); " . "SELECT * FROM code_redeem('redeem own', 'c', 'r'); " x 3 . 'COMMIT',
		'completes 1, redeems_consumed 3, reuses 1, revocations_by_reuse 1' ],
	[ 'a sweep', sprintf($put, 'due-1') . sprintf($put, 'due-2') . rolled_back('SELECT code_sweep();'), 'puts 2, rows_swept 2, sweeps 1' ],
	[ 'a sweep that finds nothing', 'SELECT code_sweep();', 'sweeps 1' ]);
is(counted($_->[1]), $_->[2], "$_->[0]: " . ($_->[2] || "nothing")) for @cases;

# Sessions at once.
my %counted_before = counters();
$node->pgbench("--no-vacuum --client=4 --jobs=2 --transactions=100", 0, [qr/400\/400/], [qr/^$/], 'four sessions put and take',
	{ 'counters' => "BEGIN;\nSELECT code_put('many-' || :client_id || '-' || random(), '$grant', 1);\nROLLBACK;\nSELECT * FROM code_take('nothing');\nSELECT * FROM code_redeem('nothing', 'c', 'r');" });
my %many = counters();
is($many{puts}, $counted_before{puts} + 400, 'every put counts');
is($many{takes_error}, $counted_before{takes_error} + 400, 'and every take');
is($many{redeems_unknown}, $counted_before{redeems_unknown} + 400, 'and every redemption');

# Each database for itself.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION attesto_codes; ' . sprintf($put, 'here'));
my %other = counters('other');
is($other{puts}, 1, 'another database counts for itself');
is({ counters() }->{puts}, $many{puts}, 'and nowhere else');

# While nobody finds the queue, each order has a worker of its own.
$node->restart;
put($node, 'far');
put($node, 'far, too');
my $holder = $node->background_psql('postgres');
$holder->query_safe('BEGIN; LOCK TABLE authorization_queue');
is(counted(rolled_back("SELECT * FROM code_redeem('far, too', 'c', 'r');")), 'redeems_ok 1, spends_oneshot 1', 'a redemption without a queue: redeems_ok 1, spends_oneshot 1');
is(counted(rolled_back("SELECT * FROM code_take('far');")), 'spends_oneshot 1, takes_ok 1', 'a take without a queue: spends_oneshot 1, takes_ok 1');
$holder->quit;

$node->restart;
%zero = counters();
is(join(' ', map { $zero{$_} } @names), join(' ', (0) x @names), 'after a restart they begin at 0');

done_testing();
