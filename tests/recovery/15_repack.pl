# pg_repack copies a table while its clients go on, and learns of what they write by a trigger. Whatever they do while it
# copies, and while it swaps the tables, every code, token and family is as the answers said, with and without preload.
use strict;
use warnings;
use AttestoCodes;
use FindBin;
use IPC::Run;
use PostgreSQL::Test::Utils;
use Test::More;

# The server's own programs come first. Behind them may be the pg_repack of another server.
unless (-x (split /:/, $ENV{PATH})[0] . '/pg_repack')
{
	# As 09_cron.pl does. A plan of skip_all counts as a suite in which no test ran.
	SKIP: { skip 'this PostgreSQL has no pg_repack: there is no package of it, or scripts/setup.sh --tests did not run', 1; }
	done_testing();
	exit;
}

# Each of many hundred queries would be told about.
{ no warnings 'redefine'; *PostgreSQL::Test::BackgroundPsql::note = sub { }; }

my @tables = qw(authorizations authorization_access_tokens authorization_revoked_families);
my $all = join ', ', @tables;
my $node = new_primary('repack', 'max_connections = 50', 'attesto_codes.sweep_interval = 0');
# The client has no right on a table.
$node->safe_psql('postgres', 'CREATE ROLE client LOGIN; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO client; CREATE EXTENSION pg_repack');

my $grant = grant(family_id => 'grant of %1$s');
my $hour_ago = 'extract(epoch FROM now())::bigint - 3600';
my %verbs = (
	'put' => "SELECT code_put('%1\$s', '$grant', 4102444800)",
	'put expired' => "SELECT code_put('%1\$s', '$grant', $hour_ago)",
	'take' => "SELECT status FROM code_take('%1\$s')",
	'mark' => "SELECT code_mark_consumed('%1\$s')",
	'record' => "SELECT code_record_access_token('%1\$s', '%1\$s', 4102444800)",
	'record expired' => "SELECT code_record_access_token('%1\$s', '%1\$s', $hour_ago)",
	'revoke' => "SELECT code_revoke_family('%1\$s')",
	'revoked?' => "SELECT code_access_token_revoked('%1\$s')",
	'sweep' => 'SELECT code_sweep() >= 0 /* of %1$s */');

# Each a code, or a token and its family: what happened before, and while pg_repack copies, with the answers to that; and what
# is answered after it. A verb ends with ! where its transaction is rolled back.
my @stories = (
	[ 'put', [], [qw(put)], '', 'take', 'ok' ],
	[ 'put, rolled back', [], [qw(put!)], '', 'take', 'error' ],
	[ 'taken', [qw(put)], [qw(take)], 'ok', 'take', 'error' ],
	[ 'taken in a transaction, rolled back', [qw(put)], [qw(take!)], 'ok', 'take', 'error' ],
	[ 'put and taken', [], [qw(put take)], ' ok', 'take', 'error' ],
	[ 'taken and marked', [qw(put)], [qw(take mark)], 'ok ok', 'take', 'consumed' ],
	[ 'taken in a transaction, rolled back, and marked', [qw(put)], [qw(take! mark)], 'ok ok', 'take', 'consumed' ],
	[ 'marked', [qw(put take)], [qw(mark)], 'ok', 'take', 'consumed' ],
	[ 'marked, rolled back', [qw(put take)], [qw(mark!)], 'ok', 'take', 'error' ],
	[ 'replayed', [qw(put take)], [qw(take)], 'error', 'mark', 'replayed' ],
	[ 'replayed in a transaction, rolled back', [qw(put take)], [qw(take!)], 'error', 'mark', 'replayed' ],
	[ 'reused', [qw(put take mark)], [qw(take)], 'consumed', 'take', 'consumed' ],
	[ 'swept', [ 'put expired' ], [qw(sweep)], 't', 'take', 'error' ],
	[ 'swept and put', [ 'put expired' ], [qw(sweep put)], 't ', 'take', 'ok' ],
	[ 'swept as evidence', [ 'put expired', 'take', 'mark' ], [qw(sweep)], 't', 'take', 'consumed' ],
	[ 'recorded', [], [qw(record)], 't', 'record', '23505' ],
	[ 'recorded, rolled back', [], [qw(record!)], 't', 'record', 't' ],
	[ 'recorded and revoked', [], [qw(record revoke)], 't 1', 'revoked?', 't' ],
	[ 'token revoked', [qw(record)], [qw(revoke)], '1', 'revoked?', 't' ],
	[ 'token revoked, rolled back', [qw(record)], [qw(revoke!)], '1', 'revoked?', 'f' ],
	[ 'recorded in a revoked family', [qw(revoke)], [qw(record)], 'f', 'revoked?', 't' ],
	[ 'family revoked', [], [qw(revoke)], '0', 'record', 'f' ],
	[ 'token swept', [ 'record expired' ], [qw(sweep)], 't', 'record', 't' ],
	[ 'family swept', [qw(revoke)], [qw(sweep)], 't', 'record', 't' ]);

# What a session of the client answers, or with which SQLSTATE it fails.
sub answer
{
	my ($session, $verb, $name) = @_;
	my $sql = sprintf $verbs{ $verb =~ s/!$//r }, $name;
	$session->{stderr} = '';
	my $answer = $session->query($verb =~ /!$/ ? "BEGIN;\n$sql;\nROLLBACK" : $sql);
	return $session->{stderr} =~ /ERROR:  (\w+)/ ? $1 : $answer;
}

sub sql { my ($sql) = @_; return $node->safe_psql('postgres', $sql); }
sub none { my ($sql, $what) = @_; is(sql("$sql LIMIT 10"), '', $what); return; }
sub rows { return map { split /\n/, sql("SELECT '$_', t FROM $_ t") } @tables; }
sub place { my ($table) = @_; return sql("SELECT pg_relation_filenode('$table')"); }

# Lets pg_repack copy a table, and calls what is to happen before it swaps the copy in: when it has copied, it waits for
# the transactions that were open in the database before, whatever they do.
sub repack
{
	my ($title, $table, $meanwhile) = @_;
	my ($in, $said) = ('', '');
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN');
	my $before = place($table);
	my $timeout = IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default);
	# It kills no client, and gives up after the timeout.
	my $repack = IPC::Run::start([ 'pg_repack', '--no-kill-backend', '--wait-timeout', $PostgreSQL::Test::Utils::timeout_default,
		'-h', $node->host, '-p', $node->port, '-d', 'postgres', '-t', "public.$table" ], '<', \$in, '>', \$said, '2>', \$said, $timeout);
	pump_until($repack, $timeout, \$said, qr/Waiting for \d+ transactions to finish/) or die "pg_repack said: $said";
	$meanwhile->();
	is(place($table), $before, "$title: all that while pg_repack copies");
	$holder->quit;
	ok($repack->finish, "$title: pg_repack came to its end") or diag($said);
	isnt(place($table), $before, "$title: and swapped the table");
	return;
}

sub tell_stories
{
	my ($table, $title) = @_;
	sql("TRUNCATE $all");
	my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'client', '-v', 'VERBOSITY=sqlstate' ]);
	$session->set_query_timer_restart;
	my $name = sub { "$title: $_[0][0]" };
	for my $story (@stories)
	{
		answer($session, $_, $name->($story)) for @{ $story->[1] };
	}
	# A revocation is kept for some time.
	sql("UPDATE authorization_revoked_families SET revoked_at = revoked_at - interval '60 days' WHERE family_id = '$title: family swept'");
	my (@told, %rows);
	repack($title, $table, sub {
		@told = map { my $story = $_; join ' ', map { answer($session, $_, $name->($story)) } @{ $story->[2] } } @stories;
		$rows{$_}++ for rows();
	});
	$rows{$_}-- for rows();
	is(join("\n", grep { $rows{$_} } sort keys %rows), '', "$title: and every row is as it was");
	for my $story (@stories)
	{
		my $told = shift @told;
		is("$told, then " . answer($session, $story->[4], $name->($story)), "$story->[3], then $story->[5]", $name->($story));
	}
	$session->quit;
	return;
}

# Concurrent clients, below whom the tables are swapped, too; then their answers are compared with what is stored.
sub load
{
	my ($title) = @_;
	sql("TRUNCATE $all");
	my $folder = PostgreSQL::Test::Utils::tempdir();
	my $in = '';
	my $clients = IPC::Run::start([ "$FindBin::Bin/repack.py", $node->connstr('postgres'), $folder ], '<', \$in);
	ok($node->poll_query_until('postgres', 'SELECT count(*) >= 300 FROM authorizations WHERE consumed_at IS NULL'), "$title: there are live codes");
	for my $table (@tables)
	{
		repack("$title, $table", $table, sub {
			my $since = sql('SELECT now()');
			ok($node->poll_query_until('postgres', qq(SELECT (SELECT count(*) >= 300 FROM authorizations WHERE consumed_at > '$since')
				AND (SELECT count(*) >= 10 FROM authorization_revoked_families WHERE revoked_at > '$since'))), "$title, $table: codes are taken and families revoked");
		});
	}
	ok($clients->finish, "$title: and every client came to its end");
	sql(qq(DROP TABLE IF EXISTS events;
		CREATE TABLE events (what text, code text, answer text, began float8, ended float8);
		COPY events FROM PROGRAM 'cat "$folder"/*.log';
		CREATE INDEX ON events (code, what);
		ANALYZE));
	note(sql('SELECT what, answer, count(*) FROM events GROUP BY 1, 2 ORDER BY 1, 2'));

	my $presented = q(what IN ('code_take', 'code_redeem'));
	my $ok = qq(FROM events WHERE $presented AND answer = 'ok');
	none(q(SELECT what, answer, count(*) FROM events WHERE answer LIKE 'unexpected%' GROUP BY 1, 2), "$title: no client met an error that is not documented");
	none("SELECT code $ok GROUP BY 1 HAVING count(*) > 1", "$title: no code was given twice");
	none("SELECT code $ok AND EXISTS (SELECT FROM authorizations WHERE code_hash = code AND consumed_at IS NULL)", "$title: no code that was given is live");
	# In this query's transaction, which ends with it.
	none("SET attesto_codes.take_in_transaction = 'join'; SELECT code, status FROM (SELECT code $ok) given, code_take(code) WHERE status = 'ok'",
		"$title: or can be taken again");
	none(q(SELECT mark.code FROM events mark JOIN events replay USING (code)
		WHERE mark.what IN ('code_mark_consumed', 'code_complete') AND mark.answer = 'ok' AND replay.ended < mark.began
		AND (replay.what = 'code_take' AND replay.answer = 'error' OR replay.what = 'code_redeem' AND replay.answer = 'spent')),
		"$title: no replay before a mark was forgotten");
	# Of codes that no sweep removes. A call whose answer was lost may have spent one.
	none(q(SELECT put.code FROM events put JOIN events spent USING (code)
		WHERE put.what = 'stored' AND code LIKE 'long%' AND spent.what IN ('code_take', 'code_redeem') AND spent.answer IN ('error', 'spent')
		AND NOT EXISTS (SELECT FROM events winner WHERE winner.code = put.code AND winner.what IN ('code_take', 'code_redeem')
			AND winner.answer IN ('ok', 'client_mismatch', 'redirect_uri_mismatch', 'lost', '57014', '57P01'))),
		"$title: no code was refused that nobody had presented");
	my %kept = (
		stored => 'EXISTS (SELECT FROM authorizations WHERE code_hash = code AND subject = code)',
		redeemed => 'EXISTS (SELECT FROM authorizations WHERE code_hash = code AND consumed_success) AND EXISTS (SELECT FROM authorization_access_tokens WHERE jti = code)',
		completed => q(EXISTS (SELECT FROM authorizations WHERE code_hash = code AND consumed_success)
			AND EXISTS (SELECT FROM authorization_access_tokens WHERE jti = code || ' 1')),
		revoked => 'code_family_revoked(code) AND NOT EXISTS (SELECT FROM authorization_access_tokens WHERE family_id = code AND NOT code_access_token_revoked(jti))');
	none("SELECT code FROM events WHERE what = '$_' AND code LIKE 'long%' AND NOT ($kept{$_})", "$title: what was $_ is") for sort keys %kept;
	return;
}

for my $preload ('', "shared_preload_libraries = 'attesto_codes'")
{
	my $title = $preload ? 'with preload' : 'without preload';
	$node->append_conf('postgresql.conf', "$preload\n");
	$node->restart;
	tell_stories($_, "$title, $_") for @tables;
	load("$title, under load");
}

$node->stop;
done_testing();
