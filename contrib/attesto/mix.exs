defmodule AttestoCodes.MixProject do
  use Mix.Project

  def project do
    [
      app: :attesto_codes,
      version: "0.1.0",
      elixir: "~> 1.14",
      description: "Authorization codes of Attesto in the PostgreSQL extension attesto_codes",
      # Your application has Attesto and a driver.
      deps: []
    ]
  end
end
