"""An Authlib server that stores its tokens with SQLAlchemy's sessions."""
from authlib.integrations.sqla_oauth2 import OAuth2TokenMixin
from sqlalchemy import Column, Integer, Text, create_engine
from sqlalchemy.orm import declarative_base, scoped_session, sessionmaker

from authlib_flask import Codes, serve

URL = "postgresql+psycopg://"
Base = declarative_base()
engine = create_engine(URL)
session = scoped_session(sessionmaker(engine))


class Token(Base, OAuth2TokenMixin):
    __tablename__ = "tokens"
    id = Column(Integer, primary_key=True)
    family_id = Column(Text)


def save_token(token, request):
    request.db.add(Token(client_id=request.client.client_id, family_id=request.family_id, **token))


def find_token(column, value):
    return session.query(Token).filter_by(**{column: value}).first()


Base.metadata.create_all(engine)
serve(Codes(create_engine(URL, isolation_level="AUTOCOMMIT").connect, session), save_token, find_token, session.remove)
