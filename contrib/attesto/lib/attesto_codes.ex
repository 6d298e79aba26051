defmodule AttestoCodes do
  @moduledoc """
  Authorization codes of Attesto in the PostgreSQL extension attesto_codes: an `Attesto.CodeStore` over a query function of yours.

      defmodule MyApp.CodeStore do
        use AttestoCodes

        def query(sql, params), do: MyApp.Repo.query!(sql, params, log: false).rows
      end

  Beside the behaviour's functions the store has those by which access tokens are recorded, revoked and looked up.
  """

  @doc """
  Runs one statement, and answers its rows, each of them a list of values. It raises what PostgreSQL raises. A map is given for
  jsonb, and wanted for it.
  """
  @callback query(sql :: String.t(), params :: [term]) :: [[term]]

  defmodule NoTokens do
    @moduledoc "No tokens may be sent for the code: roll back, and answer `invalid_grant`. The message is for the log."
    defexception [:message]
  end

  # What Attesto takes for a grant: these members, and no others.
  @members [:claims, :client_id, :code_challenge, :dpop_jkt, :family_id, :redirect_uri, :resource, :scope, :subject]
  @names Map.new(@members, &{Atom.to_string(&1), &1})

  defmacro __using__(_) do
    quote do
      @behaviour AttestoCodes
      if Code.ensure_loaded?(Attesto.CodeStore), do: @behaviour(Attesto.CodeStore)

      def put(entry), do: AttestoCodes.put(__MODULE__, entry)
      def get(code_hash), do: AttestoCodes.get(__MODULE__, code_hash)
      def take(code_hash), do: AttestoCodes.take(__MODULE__, code_hash)
      def mark_consumed(code_hash, meta), do: AttestoCodes.mark_consumed(__MODULE__, code_hash, meta)

      def record_access_token(family_id, jti, expires_at),
        do: AttestoCodes.record_access_token(__MODULE__, family_id, jti, expires_at)

      def revoke_family_access_tokens(family_id), do: AttestoCodes.revoke_family_access_tokens(__MODULE__, family_id)

      # The hash of a code is a family, too, for tokens that are recorded before they have another one.
      def record_access_token_for_code(code_hash, jti, expires_at), do: record_access_token(code_hash, jti, expires_at)
      def revoke_access_token_for_code(code_hash), do: revoke_family_access_tokens(code_hash)

      def access_token_revoked?(jti), do: AttestoCodes.access_token_revoked?(__MODULE__, jti)
    end
  end

  @doc false
  def put(store, %{code_hash: code_hash, data: data, expires_at: expires_at}) do
    unless data |> Map.keys() |> Enum.sort() == @members do
      raise ArgumentError, "the data of a code must have the members #{Enum.join(@members, ", ")}, and no others"
    end

    store.query("SELECT code_put($1, $2, $3)", [code_hash, data, expires_at])
    :ok
  end

  @doc false
  def get(store, code_hash) do
    case store.query("SELECT data, expires_at FROM code_get($1)", [code_hash]) do
      [[data, expires_at]] -> {:ok, entry(code_hash, data, expires_at)}
      [] -> :error
    end
  end

  # A statement of its own, with nothing but columns in it: then no background worker is needed.
  @doc false
  def take(store, code_hash) do
    case store.query("SELECT status, data, expires_at, meta FROM code_take($1)", [code_hash]) do
      [["ok", data, expires_at, _]] -> {:ok, entry(code_hash, data, expires_at)}
      [["consumed", _, _, meta]] -> {:error, :consumed, Map.new(meta, fn {name, value} -> {@names[name] || name, value} end)}
      [["error", _, _, _]] -> :error
    end
  end

  @doc false
  def mark_consumed(store, code_hash, meta) do
    case store.query("SELECT code_mark_consumed($1, $2)", [code_hash, meta]) do
      [["ok"]] -> :ok
      [["replayed"]] -> raise NoTokens, "the code was presented again since it was taken, or was revoked or lost in a crash"
      [["missing"]] -> raise NoTokens, "there is no such code: it was never issued, or was swept"
    end
  end

  @doc false
  def record_access_token(store, family_id, jti, expires_at) do
    case store.query("SELECT code_record_access_token($1, $2, $3)", [family_id, jti, expires_at]) do
      [[true]] -> :ok
      [[false]] -> raise NoTokens, "the family of the access token is revoked"
    end
  end

  @doc false
  def revoke_family_access_tokens(store, family_id) do
    store.query("SELECT code_revoke_family($1)", [family_id])
    :ok
  end

  @doc false
  def access_token_revoked?(store, jti) do
    [[revoked]] = store.query("SELECT code_access_token_revoked($1)", [jti])
    revoked
  end

  # The method of a challenge is always S256, and Attesto does not name it. What else another program has put into the grant
  # may be a restriction, so it is not left out.
  defp entry(code_hash, data, expires_at) do
    {known, others} = data |> Map.delete("code_challenge_method") |> Map.split(Map.keys(@names))

    if Enum.any?(others, fn {_, value} -> value != nil end) do
      raise ArgumentError, "the grant has a member that Attesto does not know"
    end

    %{code_hash: code_hash, data: Map.new(known, fn {name, value} -> {@names[name], value} end), expires_at: expires_at}
  end
end
