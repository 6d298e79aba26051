# What attesto.py runs: the calls of Attesto's code store, made as Attesto makes them, over Debian's p1_pgsql.

# A stand-in for the behaviour, which is not among Debian's packages.
defmodule Attesto.CodeStore do
  @type entry :: %{code_hash: String.t(), data: map, expires_at: integer}
  @callback put(entry) :: :ok
  @callback get(String.t()) :: {:ok, entry} | :error
  @callback take(String.t()) :: {:ok, entry} | :error | {:error, :consumed, map}
  @callback mark_consumed(String.t(), map) :: :ok
end

defmodule Database do
  @moduledoc "Each process that asks has a connection."

  defmodule Error do
    defexception [:message, :code]
  end

  def open(user) do
    [host, port, database] = Enum.map(~w(PGHOST PGPORT PGDATABASE), &(&1 |> System.fetch_env!() |> to_charlist()))
    address = [host: host, port: List.to_integer(port), database: database]
    {:ok, db} = :pgsql.connect([user: to_charlist(user), password: '', as_binary: true] ++ address)
    db
  end

  @doc "Calls the function in a process of its own, over this connection."
  def async(db, function) do
    Task.async(fn ->
      Process.put(:db, db)
      function.()
    end)
  end

  # Of a statement with parameters p1_pgsql cannot read the answer if a number in it is null. So they become literals.
  def query(sql, params) do
    parameter = fn _, digit -> params |> Enum.at(String.to_integer(digit) - 1) |> literal() end

    case :pgsql.squery(Process.get(:db), Regex.replace(~r/\$(\d)/, sql, parameter)) do
      {:ok, [{_, columns, rows}]} -> for row <- rows, do: Enum.zip_with(columns, row, &value/2)
      {:ok, [{:error, error}]} -> raise Error, code: error[:code], message: error[:message]
      {:ok, [_]} -> []
    end
  end

  @doc "What rolls back where the function raises, as Ecto's does."
  def transaction(function) do
    command("BEGIN")
    answer = function.()
    command("COMMIT")
    answer
  rescue
    error ->
      command("ROLLBACK")
      reraise error, __STACKTRACE__
  end

  def command(sql), do: query(sql, [])

  defp literal(number) when is_integer(number), do: Integer.to_string(number)
  defp literal(map) when is_map(map), do: map |> :jiffy.encode([:use_nil]) |> IO.iodata_to_binary() |> literal()
  defp literal(text), do: "'" <> String.replace(text, "'", "''") <> "'"

  defp value(_, :null), do: nil
  defp value(column, text), do: decoded(elem(column, 3), text)

  # By the OID of the type.
  defp decoded(16, letter), do: letter == "t"
  defp decoded(20, digits), do: String.to_integer(digits)
  defp decoded(3802, json), do: :jiffy.decode(json, [:return_maps, :use_nil])
  defp decoded(_, text), do: text
end

Code.require_file("../../contrib/attesto/lib/attesto_codes.ex", __DIR__)

defmodule Store do
  use AttestoCodes

  @impl AttestoCodes
  defdelegate query(sql, params), to: Database
end

defmodule Scenarios do
  alias AttestoCodes.NoTokens

  @racers 20
  @rounds 10
  @grant %{
    client_id: "app",
    code_challenge: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
    claims: %{"nonce" => "n", "acr" => nil, "größe" => [1, 9_007_199_254_740_993, %{"deep" => [true]}], "empty" => %{}},
    dpop_jkt: "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
    family_id: "family",
    redirect_uri: "https://app.example/cb",
    resource: ["https://api.example/"],
    scope: ["openid", "profile"],
    subject: "alice"
  }
  @plain %{@grant | code_challenge: nil, claims: %{}, dpop_jkt: nil, family_id: nil, resource: [], scope: []}

  def run do
    Database.command("CREATE TABLE tokens (jti text)")
    behaviour()
    round_trip()
    put_refuses()
    single_use()
    completion()
    reuse()
    revocation()
    foreign_members()
    undo()
    races()
  end

  defp behaviour do
    behaviours = for {:behaviour, names} <- Store.module_info(:attributes), name <- names, do: name
    ok(Attesto.CodeStore in behaviours, "the store is an Attesto.CodeStore")
    missing = Attesto.CodeStore.behaviour_info(:callbacks) -- Store.module_info(:exports)
    equal(missing, [], "it has all functions of the behaviour")
  end

  defp round_trip do
    for {name, grant} <- [full: @grant, plain: @plain] do
      entry = entry(grant)
      equal(Store.put(entry), :ok, "put of a #{name} grant")
      equal(Store.get(entry.code_hash), {:ok, entry}, "get gives it back, in nine members, a #{name} grant")
      equal(Store.take(entry.code_hash), {:ok, entry}, "take does, after a get, a #{name} grant")
    end

    expired = entry(@grant, -10)
    Store.put(expired)
    equal(Store.take(expired.code_hash), {:ok, expired}, "take of an expired code gives its expires_at, for Attesto to compare")
    equal(Store.take(expired.code_hash), :error, "and spends it")
  end

  defp put_refuses do
    first = put(@grant)
    raises("23505", fn -> Store.put(%{first | data: @plain}) end, "put of a hash that exists raises")
    equal(Store.get(first.code_hash), {:ok, first}, "and changes nothing")
    Store.take(first.code_hash)
    raises("23505", fn -> Store.put(first) end, "so does put of one that is spent")

    text = Map.new(@grant, fn {name, value} -> {Atom.to_string(name), value} end)

    for {name, grant} <- [more: Map.put(@grant, :nonce, "n"), fewer: Map.delete(@grant, :resource), text: text] do
      entry = entry(grant)
      raises(ArgumentError, fn -> Store.put(entry) end, "put of a grant with other members raises: #{name}")
      equal(Store.get(entry.code_hash), :error, "and stores nothing: #{name}")
    end
  end

  defp single_use do
    equal(Store.get(hash(code())), :error, "get of an unknown code")
    equal(Store.take(hash(code())), :error, "take of an unknown code")
    spent = taken(@grant)
    equal(Store.get(spent.code_hash), :error, "get of a spent code")
    equal(Store.take(spent.code_hash), :error, "take of a spent code")
  end

  defp completion do
    raises(NoTokens, fn -> Store.mark_consumed(hash(code()), meta(@grant)) end, "a mark of an unknown code raises")
    live = put(@grant)
    raises("55000", fn -> Store.mark_consumed(live.code_hash, meta(@grant)) end, "a mark of a live code raises")
    equal(Store.get(live.code_hash), {:ok, live}, "and it stays live")
    replayed = taken(@grant)
    Store.take(replayed.code_hash)
    jti = jti()

    raises(NoTokens, fn -> complete(replayed, jti) end, "where a code was replayed before its mark, the mark raises")
    equal(Store.query("SELECT count(*) FROM tokens WHERE jti = $1", [jti]), [[0]], "and no tokens are stored")
    equal(Store.take(replayed.code_hash), :error, "nor is it redeemed")
  end

  defp reuse do
    family = jti()
    redeemed = taken(%{@grant | family_id: family})
    jti = jti()
    equal(complete(redeemed, jti), :ok, "a code is redeemed")
    equal(Store.access_token_revoked?(jti), false, "its access token is good")
    used_again = {:error, :consumed, %{family_id: family, subject: "alice"}}
    equal(Store.take(redeemed.code_hash), used_again, "a reuse says which family to revoke")
    equal(Store.revoke_family_access_tokens(family), :ok, "the family is revoked")
    equal(Store.access_token_revoked?(jti), true, "the access token is dead")
    later = fn -> Store.record_access_token(family, jti(), expiry(300)) end
    raises(NoTokens, later, "a later access token of the family is refused")

    without = taken(@plain)
    jti = jti()
    Store.record_access_token_for_code(without.code_hash, jti, expiry(300))
    equal(Store.mark_consumed(without.code_hash, meta(@plain)), :ok, "a code without a family is redeemed")
    equal(Store.take(without.code_hash), {:error, :consumed, meta(@plain)}, "a reuse says that it has no family")
    equal(Store.revoke_access_token_for_code(without.code_hash), :ok, "its access token is revoked by the code")
    equal(Store.access_token_revoked?(jti), true, "and is dead")

    extra = taken(@plain)
    Store.mark_consumed(extra.code_hash, %{family_id: "issued", subject: "alice", note: %{"a" => 1}})
    wanted = {:error, :consumed, %{:family_id => "issued", :subject => "alice", "note" => %{"a" => 1}}}
    equal(Store.take(extra.code_hash), wanted, "a reuse gives the meta of the mark")
  end

  defp revocation do
    live = put(%{@grant | family_id: "emergency"})
    Store.revoke_family_access_tokens("emergency")
    equal(Store.take(live.code_hash), :error, "a live code of a revoked family is refused")
    raises(NoTokens, fn -> Store.mark_consumed(live.code_hash, meta(@grant)) end, "and gets no tokens")
  end

  defp foreign_members do
    foreign = entry(Map.put(@grant, :max_uses, 1))
    Store.query("SELECT code_put($1, $2, $3)", [foreign.code_hash, foreign.data, foreign.expires_at])
    raises(ArgumentError, fn -> Store.take(foreign.code_hash) end, "a grant with a member that Attesto does not know is refused")
    equal(Store.take(foreign.code_hash), :error, "and its code is spent")
  end

  # The server's own role may not present inside a transaction here, which shows that its takes need no worker.
  defp undo do
    refused = put(@grant)
    in_transaction = fn -> Database.transaction(fn -> Store.take(refused.code_hash) end) end
    raises("25001", in_transaction, "a take in a transaction would need a worker")

    rolled_back = fn ->
      Database.command("SET search_path = app, oauth")
      Database.command("SET attesto_codes.take_in_transaction = independent")
      entry = put(@grant)
      Database.command("BEGIN")
      equal(Store.take(entry.code_hash), {:ok, entry}, "a take in a transaction")
      Database.command("ROLLBACK")
      equal(Store.take(entry.code_hash), :error, "is not undone by its rollback")
    end

    System.fetch_env!("ADMIN") |> Database.open() |> Database.async(rolled_back) |> Task.await()

    marked = taken(@grant)
    Database.command("BEGIN")
    Store.mark_consumed(marked.code_hash, meta(@grant))
    Database.command("ROLLBACK")
    equal(Store.take(marked.code_hash), :error, "a mark is undone by a rollback: the code is spent, and not redeemed")
  end

  defp races do
    tallies = rounds(fn -> put(@grant) end, fn entry, _ -> Store.take(entry.code_hash) |> outcome() end)
    equal(tallies, [%{ok: 1, error: @racers - 1}], "of #{@racers} takes at once one gets the code")

    redeemed = fn -> taken(@grant) |> tap(&Store.mark_consumed(&1.code_hash, meta(@grant))) end
    tallies = rounds(redeemed, fn entry, _ -> Store.take(entry.code_hash) |> outcome() end)
    equal(tallies, [%{consumed: @racers}], "each of #{@racers} takes of a redeemed code at once is a reuse")

    # The first completes what it has taken, while the others come again.
    tallies = rounds(fn -> taken(@grant) end, &complete_beside_takes/2)
    wanted = [%{tokens: 1, consumed: @racers - 1}, %{no_tokens: 1, error: @racers - 1}]
    equal(tallies -- wanted, [], "beside #{@racers - 1} takes a completion either raises, or each of them is a reuse")

    tallies = rounds(fn -> put(%{@grant | family_id: jti()}) end, fn entry, _ -> redeem(entry) end)
    wanted = [%{dead: 1, consumed: @racers - 1}, %{no_tokens: 1, error: @racers - 1}]
    equal(tallies -- wanted, [], "of #{@racers} whole redemptions at once at most one gets tokens, and they are dead")
  end

  defp complete_beside_takes(entry, 1), do: attempt(fn -> complete(entry, jti()) && :tokens end)
  defp complete_beside_takes(entry, _), do: Store.take(entry.code_hash) |> outcome()

  # All that a token endpoint does.
  defp redeem(entry) do
    case Store.take(entry.code_hash) do
      {:ok, entry} ->
        attempt(fn ->
          jti = jti()
          complete(entry, jti)
          {:tokens, jti}
        end)

      {:error, :consumed, meta} ->
        Store.revoke_family_access_tokens(meta.family_id)
        :consumed

      :error ->
        :error
    end
  end

  defp complete(%{code_hash: code_hash, data: data}, jti) do
    Database.transaction(fn ->
      Store.query("INSERT INTO tokens VALUES ($1)", [jti])
      Store.record_access_token(data.family_id, jti, expiry(300))
      Store.mark_consumed(code_hash, meta(data))
    end)
  end

  defp attempt(function) do
    function.()
  rescue
    NoTokens -> :no_tokens
  end

  defp outcome({:ok, _}), do: :ok
  defp outcome({:error, :consumed, _}), do: :consumed
  defp outcome(:error), do: :error

  # The different tallies of what the racers got. Their connections end with the program: terminate/1 of p1_pgsql fails where the
  # server is the first to close.
  defp rounds(prepare, race) do
    connections = for _ <- 1..@racers, do: Database.open(System.fetch_env!("PGUSER"))

    for _ <- 1..@rounds, uniq: true do
      entry = prepare.()
      numbered = Enum.with_index(connections, 1)
      tasks = for {db, number} <- numbered, do: Database.async(db, fn -> race.(entry, number) end)
      tasks |> Task.await_many(60_000) |> Enum.map(&fate/1) |> Enum.frequencies()
    end
  end

  defp fate({:tokens, jti}), do: if(Store.access_token_revoked?(jti), do: :dead, else: :good)
  defp fate(other), do: other

  # A new code, which attesto.py then searches for.
  defp code do
    code = jti()
    File.write!(System.fetch_env!("CODES"), code <> "\n", [:append])
    code
  end

  defp jti, do: Base.url_encode64(:crypto.strong_rand_bytes(32), padding: false)
  defp hash(code), do: Base.url_encode64(:crypto.hash(:sha256, code), padding: false)
  defp expiry(seconds), do: System.system_time(:second) + seconds
  defp entry(grant, seconds \\ 60), do: %{code_hash: hash(code()), data: grant, expires_at: expiry(seconds)}
  defp put(grant), do: grant |> entry() |> tap(&Store.put/1)
  defp taken(grant), do: grant |> put() |> tap(&Store.take(&1.code_hash))
  defp meta(grant), do: Map.take(grant, [:family_id, :subject])

  defp ok(good, name), do: IO.puts("#{if good, do: "ok", else: "not ok"} - #{name}")

  defp equal(got, wanted, name) do
    ok(got == wanted, name)
    if got != wanted, do: IO.puts("# got #{inspect(got)}, wanted #{inspect(wanted)}")
  end

  # An SQLSTATE, or an exception that is not PostgreSQL's.
  defp raises(wanted, function, name) do
    function.()
    ok(false, name)
  rescue
    error in Database.Error -> equal(error.code, wanted, name)
    error -> equal(error.__struct__, wanted, name)
  end
end

System.fetch_env!("PGUSER") |> Database.open() |> Database.async(&Scenarios.run/0) |> Task.await(:infinity)
