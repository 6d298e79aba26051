# The counters of code_stats(): what each event adds to, whatever becomes of its transaction; for each database,
# since the start of the server; and none without shared_preload_libraries.
use strict;
use warnings;
use AttestoCodes;
use Test::More;

my @names = qw(puts takes_ok takes_consumed takes_error marks_ok marks_replayed marks_missing reuses sweeps rows_swept
  spends_statement spends_oneshot spends_resident spends_joined);
my $node = new_primary('counters');

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
sub rolled_back { return "BEGIN; $_[0] ROLLBACK;"; }
put($node, $_) for 'alone', 'block', 'joined', 'spent';
take($node, 'spent');

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
	[ 'a sweep', sprintf($put, 'due-1') . sprintf($put, 'due-2') . rolled_back('SELECT code_sweep();'), 'puts 2, rows_swept 2, sweeps 1' ],
	[ 'a sweep that finds nothing', 'SELECT code_sweep();', 'sweeps 1' ]);
is(counted($_->[1]), $_->[2], "$_->[0]: " . ($_->[2] || "nothing")) for @cases;

# Sessions at once.
$node->pgbench("--no-vacuum --client=4 --jobs=2 --transactions=100", 0, [qr/400\/400/], [qr/^$/], 'four sessions put and take',
	{ 'counters' => "BEGIN;\nSELECT code_put('many-' || :client_id || '-' || random(), '$grant', 1);\nROLLBACK;\nSELECT * FROM code_take('nothing');" });
my %many = counters();
is($many{puts}, 5 + 3 + 400, 'every put counts');
is($many{takes_error}, 2 + 400, 'and every take');

# Each database for itself.
$node->safe_psql('postgres', 'CREATE DATABASE other');
$node->safe_psql('other', 'CREATE EXTENSION attesto_codes; ' . sprintf($put, 'here'));
my %other = counters('other');
is($other{puts}, 1, 'another database counts for itself');
is({ counters() }->{puts}, $many{puts}, 'and nowhere else');

# Backends beyond the thousandth have no place in the queue. Before PostgreSQL 16 the first one is the last of them all.
SKIP:
{
	skip 'the first backend has a place in the queue', 1 if $node->pg_version >= 16;
	$node->append_conf('postgresql.conf', "max_connections = 1100\n");
	$node->restart;
	put($node, 'far');
	is(counted(rolled_back("SELECT * FROM code_take('far');")), 'spends_oneshot 1, takes_ok 1', 'a take in a transaction without a resident worker: spends_oneshot 1, takes_ok 1');
}

$node->restart;
%zero = counters();
is(join(' ', map { $zero{$_} } @names), join(' ', (0) x @names), 'after a restart they begin at 0');

done_testing();
