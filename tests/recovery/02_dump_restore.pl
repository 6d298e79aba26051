# pg_dump and pg_restore keep every row and state of codes, tokens and families, also where the extension
# has a schema of its own, and the restored extension goes on from there.
use strict;
use warnings;
use AttestoCodes;
use PostgreSQL::Test::Utils;
use States;
use Test::More;

my $node = new_primary('dump');

for my $schema ('public', 'oauth')
{
	my ($from, $to) = ("from_$schema", "to_$schema");
	$node->safe_psql('postgres', "CREATE DATABASE $_") for $from, $to;
	every_state($node, $from, $schema);
	my $dump = PostgreSQL::Test::Utils::tempdir() . '/dump';
	command_ok([ 'pg_dump', '-Fc', '-f', $dump, '-d', $node->connstr($from) ], "$schema: pg_dump");
	command_ok([ 'pg_restore', '-e', '-d', $node->connstr($to), $dump ], "$schema: pg_restore");
	is(every_row($node, $to, $schema), every_row($node, $from, $schema), "$schema: every row came back");
	# The dump has no runs.
	is_every_state($node, $to, $schema, $schema, 'error');
}

done_testing();
