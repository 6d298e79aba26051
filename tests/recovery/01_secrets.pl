# The plaintext code reaches neither the server's log nor any file of the data folder (tables, WAL),
# and nothing that the extension says holds a code, a hash or a value of the grant.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_primary('secrets', 'autovacuum = off');
$node->safe_psql('postgres', 'CREATE ROLE nobody_special LOGIN');

my $code = 'plaintext-Zm9yIHRoZSBicm93c2VyIG9ubHk';
my $hash = $node->safe_psql('postgres', "SELECT code_hash('$code')");
my $secret = 'member-value-c2VjcmV0';
my %variables = (
	code => $code, hash => $hash, expires => 1800000000,
	data => grant(subject => $secret, nonce => $secret),
	wrong_subject => qq({"client_id": "$secret", "subject": ["$secret"], "redirect_uri": "$secret"}),
	wrong_method => grant(code_challenge_method => $secret),
	wrong_list => qq({"client_id": "c", "subject": "s", "redirect_uri": "r", "scope": ["$secret", 1]}),
	wrong_claims => qq({"client_id": "c", "subject": "s", "redirect_uri": "r", "claims": ["$secret"]}),
	not_object => qq(["$secret"]), meta => qq({"by": "$secret"}), too_long => $secret x 20);

# A full life and every error, with the code, the hash and the grant as bound parameters.
my $put = 'SELECT code_put(code_hash(:code), :data::jsonb, :expires)';
my @answered = (
	[ 'put', $put ],
	[ 'get', 'SELECT * FROM code_get(code_hash(:code))' ]);
my @refused = (
	[ '23505 of a live code', $put, 'already exists' ],
	[ '55000', 'SELECT code_mark_consumed(code_hash(:code))', 'still live' ],
	[ '22023 subject', 'SELECT code_put(:hash, :wrong_subject::jsonb, :expires)', 'invalid grant' ],
	[ '22023 method', 'SELECT code_put(:hash, :wrong_method::jsonb, :expires)', 'invalid grant' ],
	[ '22023 list', 'SELECT code_put(:hash, :wrong_list::jsonb, :expires)', 'invalid grant' ],
	[ '22023 claims', 'SELECT code_put(:hash, :wrong_claims::jsonb, :expires)', 'invalid grant' ],
	[ '22023 data', 'SELECT code_put(:hash, :not_object::jsonb, :expires)', 'invalid grant' ],
	[ '22023 expires_at', 'SELECT code_put(:hash, :data::jsonb, 9223372036854775807)', 'invalid expires_at' ],
	[ '22023 code_hash', 'SELECT * FROM code_take(:too_long)', 'invalid code_hash' ],
	[ '22023 meta', 'SELECT code_mark_consumed(:hash, :not_object::jsonb)', 'invalid meta' ],
	[ '22004', 'SELECT code_put(:hash, NULL, :expires)', 'must not be null' ],
	[ '25006', "BEGIN READ ONLY;\nSELECT * FROM code_take(code_hash(:code));\nROLLBACK;", 'read-only' ],
	[ '42501', "SET ROLE nobody_special;\nSELECT * FROM code_take(code_hash(:code));", 'permission denied' ]);
my @redeemed = (
	[ 'take', 'SELECT * FROM code_take(code_hash(:code))' ],
	[ 'second take', 'SELECT * FROM code_take(code_hash(:code))' ],
	[ 'mark', 'SELECT code_mark_consumed(code_hash(:code), :meta::jsonb)' ],
	[ 'replay', 'SELECT * FROM code_take(code_hash(:code))' ]);

sub answers
{
	my ($name, $sql) = @_;
	unlike(bound($node, $sql, %variables), qr/ERROR/, "$name is answered");
	return;
}

answers(@$_) for @answered;
for my $case (@refused)
{
	my ($name, $sql, $message) = @$case;
	my $told = bound($node, $sql, %variables);
	like($told, qr/ERROR:.*\Q$message\E/, "$name is refused");
	unlike($told, qr/\Q$secret\E|\Q$hash\E|\Q$code\E/, "$name tells no value");
}
answers(@$_) for @redeemed;
bound($node, $put, %variables);    # 23505 of a redeemed code

is($node->safe_psql('postgres', 'SELECT consumed_success FROM authorizations'), 't', 'the whole life was lived');
my $rows = $node->safe_psql('postgres', 'SELECT a::text FROM authorizations a');
like($rows, qr/\Q$hash\E/, 'the row holds the hash');
unlike($rows, qr/\Q$code\E/, 'no column holds the code');

$node->safe_psql('postgres', 'CHECKPOINT');
$node->stop;

sub files_with
{
	my ($text) = @_;
	my ($out, $err) = run_command([ 'grep', '-rlF', $text, $node->data_dir ]);
	return $out;
}
like(files_with($hash), qr/pg_wal/, 'the search sees what the WAL holds');
like(files_with($hash), qr/base/, 'the search sees what the tables hold');
is(files_with($code), '', 'no file of the data folder holds the code');

my $log = slurp_file($node->logfile);
like($log, qr/authorization code already exists/, 'the log was written with the default settings');
unlike($log, qr/\Q$code\E/, 'the log does not hold the code');
unlike($log, qr/\Q$hash\E/, 'the log does not hold the hash');
unlike($log, qr/\Q$secret\E/, 'the log does not hold a value of the grant');

done_testing();
