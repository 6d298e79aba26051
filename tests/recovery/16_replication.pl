# Logical replication carries every write of the functions as what it is, and what a publication cannot carry is refused as
# PostgreSQL refuses it by hand: with the SQLSTATE of that, and before anything is written.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# Each of many hundred queries would be told about.
{ no warnings 'redefine'; *PostgreSQL::Test::BackgroundPsql::note = sub { }; }

my @tables = my ($codes, $tokens, $families) = qw(authorizations authorization_access_tokens authorization_revoked_families);
my $node = new_primary('publisher', 'wal_level = logical', 'max_connections = 50', 'attesto_codes.sweep_interval = 0');
my $subscriber = new_primary('subscriber');

my $grant = grant(family_id => 'family');
my $hour_ago = 'extract(epoch FROM now())::bigint - 3600';
my %verbs = (
	'put' => "SELECT code_put('%1\$s', '$grant', 4102444800)",
	'put expired' => "SELECT code_put('%1\$s', '$grant', $hour_ago)",
	'get' => "SELECT data->>'family_id' FROM code_get('%1\$s')",
	'take' => "SELECT status FROM code_take('%1\$s')",
	'mark' => "SELECT code_mark_consumed('%1\$s', '{\"by\": \"me\"}')",
	'record' => "SELECT code_record_access_token('%1\$s', '%1\$s', 4102444800)",
	'record expired' => "SELECT code_record_access_token('%1\$s', '%1\$s', $hour_ago)",
	'revoke' => "SELECT code_revoke_family('%1\$s')",
	'revoked?' => "SELECT code_access_token_revoked('%1\$s')",
	'sweep' => 'SELECT code_sweep() /* of %1$s */',
	# What a sweep keeps for some time happened long ago.
	'age' => "UPDATE $codes SET consumed_at = consumed_at - interval '60 days', retain_from = retain_from - interval '60 days' WHERE code_hash = '%1\$s'",
	'age revocation' => "UPDATE $families SET revoked_at = revoked_at - interval '60 days' WHERE family_id = '%1\$s'");

# It knows the tables before there are the publications.
my $session;

sub connect_session
{
	$session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-v', 'VERBOSITY=sqlstate' ]);
	$session->set_query_timer_restart;
	return;
}

# What the session answers, or with which SQLSTATE it fails. A verb ends with ! where its transaction is rolled back.
sub answer
{
	my ($verb, $name) = @_;
	my $sql = sprintf $verbs{ $verb =~ s/!$//r }, $name;
	$session->{stderr} = '';
	my $answer = $session->query($verb =~ /!$/ ? "BEGIN;\n$sql;\nROLLBACK" : $sql);
	return $session->{stderr} =~ /ERROR:  (\w+)/ ? $1 : $answer;
}

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub rows { my ($on) = @_; return join "\n", map { $on->safe_psql('postgres', "SELECT t FROM $_ t ORDER BY t::text") } @tables; }

# A sweep does not wait for the disk, but a reader that decodes the WAL does.
sub flush { return sql(q(SELECT pg_logical_emit_message(true, 'flush', ''))); }

# A call on the publisher, its answer, and the changes that reach the subscriber.
sub arrives
{
	my ($verb, $name, $answer, $changes) = @_;
	$subscriber->safe_psql('postgres', 'TRUNCATE arrived');
	is(answer($verb, $name), $answer, "$verb, $name");
	flush();
	$node->wait_for_catchup('codes');
	like($subscriber->safe_psql('postgres', "SELECT string_agg(change, ', ' ORDER BY n) FROM arrived"), qr/^$changes$/, "$verb, $name: arrives");
	return;
}

connect_session();
answer('put', 'early');
sql('CREATE PUBLICATION codes FOR TABLE ' . join ', ', @tables);
$subscriber->safe_psql('postgres', join "\n", 'CREATE TABLE arrived (n serial, change text);',
	'CREATE FUNCTION arrive() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.arrived (change) VALUES (TG_OP || \' \' || TG_TABLE_NAME); RETURN NULL; END $$;',
	(map { "CREATE TRIGGER arrive AFTER INSERT OR UPDATE OR DELETE ON $_ FOR EACH ROW EXECUTE FUNCTION arrive(); ALTER TABLE $_ ENABLE REPLICA TRIGGER arrive;" } @tables),
	"CREATE SUBSCRIPTION codes CONNECTION '${\ $node->connstr} dbname=postgres' PUBLICATION codes");
$subscriber->wait_for_subscription_sync($node, 'codes');
is(rows($subscriber), rows($node), 'existing rows are copied');

for (
	[ 'put', 'code', '', "INSERT $codes" ], [ 'get', 'code', 'family', '' ],
	[ 'take', 'code', 'ok', "UPDATE $codes" ], [ 'take', 'code', 'error', "UPDATE $codes" ], [ 'take', 'code', 'error', '' ],
	[ 'mark', 'code', 'replayed', "UPDATE $codes" ], [ 'take', 'code', 'consumed', "UPDATE $codes" ], [ 'take', 'code', 'consumed', '' ],
	[ 'take!', 'early', 'ok', "UPDATE $codes" ], [ 'take!', 'early', 'error', "UPDATE $codes" ], [ 'put!', 'undone', '', '' ],
	[ 'mark!', 'early', 'replayed', '' ], [ 'mark', 'early', 'replayed', "UPDATE $codes" ], [ 'take!', 'early', 'consumed', "UPDATE $codes" ],
	[ 'put expired', 'due', '', "INSERT $codes" ], [ 'sweep', 'due', 1, "DELETE $codes" ],
	[ 'put expired', 'evidence', '', "INSERT $codes" ], [ 'take', 'evidence', 'ok', "UPDATE $codes" ], [ 'mark', 'evidence', 'ok', "UPDATE $codes" ],
	[ 'sweep', 'evidence', 0, "UPDATE $codes" ], [ 'take', 'evidence', 'consumed', "UPDATE $codes" ],
	[ 'age', 'evidence', '', "UPDATE $codes" ], [ 'sweep', 'old evidence', 1, "DELETE $codes" ],
	[ 'record', 'token', 't', "INSERT $tokens" ], [ 'revoke', 'token', 1, "INSERT $families" ],
	[ 'record expired', 'old token', 't', "INSERT $tokens" ], [ 'sweep', 'old token', 1, "DELETE $tokens" ],
	[ 'revoke', 'lost', 0, "INSERT $families" ], [ 'record', 'lost', 'f', "INSERT $tokens" ],
	[ 'revoke', 'old family', 0, "INSERT $families" ], [ 'age revocation', 'old family', '', "UPDATE $families" ], [ 'sweep', 'old family', 1, "DELETE $families" ])
{
	arrives(@$_);
	is(rows($subscriber), rows($node), "$_->[0], $_->[1]: every row is the same there");
}
is($subscriber->safe_psql('postgres', "SELECT code_access_token_revoked('token')"), 't', 'a revoked token is revoked there');

# A filter on a column of the replica identity is honoured: a code that is live no more leaves the subscriber.
if ($node->pg_version >= 15)
{
	sql("ALTER TABLE $codes REPLICA IDENTITY FULL; ALTER PUBLICATION codes SET TABLE $codes WHERE (consumed_at IS NULL), $tokens, $families");
	arrives(@$_) for [ 'put', 'filtered', '', "INSERT $codes" ], [ 'take', 'filtered', 'ok', "DELETE $codes" ], [ 'take', 'filtered', 'error', '' ];
	sql("ALTER TABLE $codes REPLICA IDENTITY DEFAULT");
}
$subscriber->safe_psql('postgres', 'DROP SUBSCRIPTION codes');
$subscriber->stop;
sql('DROP PUBLICATION codes');

# Readers that decode the WAL without a publication.
SKIP:
{
	skip 'this PostgreSQL has no test_decoding', 1 if error_of($node, "SELECT pg_create_logical_replication_slot('changes', 'test_decoding')") ne '';
	answer(@$_) for [ 'put expired', 'decoded' ], [ 'take', 'decoded' ], [ 'mark', 'decoded' ], [ 'sweep', 'decoded' ], [ 'age', 'decoded' ], [ 'sweep', 'decoded' ];
	flush();
	is(sql("SELECT string_agg(change[1], ' ') FROM pg_logical_slot_get_changes('changes', NULL, NULL), regexp_match(data, '^table public.$codes: (\\w+)') change"),
		'INSERT UPDATE UPDATE UPDATE UPDATE DELETE', 'a decoder sees the same');
	sql("SELECT pg_drop_replication_slot('changes')");
}

# Each table in each of these publications.
my %filter = ($codes => 'consumed_at IS NULL', $tokens => 'expires_at IS NOT NULL', $families => 'revoked_at IS NOT NULL');
my %column = ($codes => 'consumed_at', $tokens => 'expires_at', $families => 'revoked_at');
my @publications = (
	[ 'no replica identity', 'FOR TABLE %1$s' ], [ 'no replica identity, all tables', 'FOR ALL TABLES' ],
	$node->pg_version < 15 ? () : (
		[ 'columns without the key', 'FOR TABLE %1$s (%2$s)' ],
		map { [ "a filter on $_", "FOR TABLE %1\$s WHERE (%3\$s) WITH (publish = '$_')" ] }
		  'insert, update, delete', 'insert', 'insert, update', 'insert, delete'));

# What each writes, and what is answered where it may.
my @writes = ([ 'take', 'live', 'ok' ], [ 'take!', 'live too', 'ok' ], [ 'take', 'spent', 'error' ], [ 'take!', 'spent too', 'error' ],
	[ 'mark', 'to be marked', 'ok' ], [ 'take', 'redeemed', 'consumed' ], [ 'take!', 'redeemed too', 'consumed' ]);

sub told { return join ', ', map { "$_->[1]: " . answer(@$_) } @writes; }

sub refused
{
	my ($title, $table, $publish) = @_;
	sql('TRUNCATE ' . join ', ', @tables);
	answer('put', $_->[1]) for @writes;
	answer('take', $_) for 'spent', 'spent too', 'to be marked', 'redeemed', 'redeemed too';
	answer('mark', $_) for 'redeemed', 'redeemed too';
	answer(@$_) for [ 'record', 'token' ], [ 'put expired', 'due' ], [ 'record expired', 'due' ], [ 'revoke', 'due' ], [ 'age revocation', 'due' ],
	  [ 'put expired', 'evidence' ], [ 'take', 'evidence' ], [ 'mark', 'evidence' ];
	sql("ALTER TABLE $table REPLICA IDENTITY NOTHING") if $title =~ /no replica identity/;
	sql('CREATE PUBLICATION refused ' . sprintf $publish, $table, $column{$table}, $filter{$table});

	# As PostgreSQL refuses it by hand, where it does.
	my %update = map { $_ => error_of($node, "UPDATE $_ SET $column{$_} = $column{$_} WHERE false") } @tables;
	my %delete = map { $_ => error_of($node, "DELETE FROM $_ WHERE false") } @tables;
	my $refusal = $update{$table} || $delete{$table};
	like($refusal, $title =~ /no replica/ ? qr/^55000$/ : $title =~ /insert$/ ? qr/^$/ : qr/^42P10$/, "$title: by hand PostgreSQL refuses it");

	my $before = rows($node);
	is(told(), join(', ', map { "$_->[1]: " . ($update{$codes} || $_->[2]) } @writes), "$title: takes and marks");
	is(rows($node), $before, "$title: and leaves the rows as they were") if $update{$codes};
	is(answer('revoke', 'token'), 1, "$title: a revocation writes to no token");
	is(answer('revoked?', 'token'), 't', "$title: and is done");
	is(join(', ', answer('put', 'new'), answer('record', 'new')), ', t', "$title: what is new is published");

	my $seen = -s $node->logfile;
	my $removable = grep { !$delete{$_} } @tables;
	is(answer('sweep', 'all'), $removable, "$title: a sweep removes what it may: $removable");
	is(sql("SELECT string_agg(code_hash, ' ') FROM $codes WHERE code_hash = 'due' OR code_hash = 'evidence' AND retain_from IS NULL"),
		join(' ', $delete{$codes} ? 'due' : (), $update{$codes} ? 'evidence' : ()), "$title: and leaves the rest as it was");
	my @lines = grep { /attesto_codes|cannot (update|delete)/ } slurp_file($node->logfile, $seen) =~ /^(.*(?:LOG|WARNING|ERROR):  .*)$/mg;
	my $left = join '', $update{$codes}, values %delete;
	like(join("\n", @lines), $left ? qr/^.* attesto_codes .*$refusal.*$/ : qr/^$/, "$title: the log has " . ($left ? 'one line' : 'nothing') . ' about it');

	sql('DROP PUBLICATION refused');
	sql("ALTER TABLE $table REPLICA IDENTITY DEFAULT");
	is(told(), join(', ', map { "$_->[1]: $_->[2]" } @writes), "$title: without the publication they succeed") if $update{$codes};
	is(answer('sweep', 'all'), 3 - $removable, "$title: and a sweep removes the rest");
	return;
}

$session->quit;
for my $preload ('', "shared_preload_libraries = 'attesto_codes'")
{
	$node->append_conf('postgresql.conf', "$preload\n");
	$node->restart;
	connect_session();
	for my $table (@tables)
	{
		refused(($preload ? 'with' : 'without') . " preload, $table, $_->[0]", $table, $_->[1]) for @publications;
	}
	$session->quit;
}

$node->stop;
done_testing();
