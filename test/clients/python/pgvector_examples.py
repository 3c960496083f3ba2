"""The README of pgvector-python, unmodified but for the connection: psycopg 3 and SQLAlchemy."""
import json

import numpy as np
import psycopg
from pgvector.psycopg import register_vector
from pgvector import HalfVector, SparseVector

import harness


def test_psycopg_readme(url):
    conn = psycopg.connect(url, autocommit=True)
    conn.execute('DROP TABLE IF EXISTS items')
    conn.execute('CREATE EXTENSION IF NOT EXISTS vector')
    register_vector(conn)
    conn.execute('CREATE TABLE items (id bigserial PRIMARY KEY, embedding vector(3))')
    embedding = np.array([1, 2, 3])
    conn.execute('INSERT INTO items (embedding) VALUES (%s)', (embedding,))
    found = conn.execute('SELECT * FROM items ORDER BY embedding <-> %s LIMIT 5', (embedding,)).fetchall()
    assert len(found) == 1 and found[0][0] == 1 and found[0][1].to_list() == [1, 2, 3], found
    conn.execute('CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)')
    conn.execute('CREATE INDEX ON items USING ivfflat (embedding vector_l2_ops) WITH (lists = 100)')
    found = conn.execute('SELECT * FROM items ORDER BY embedding <-> %s LIMIT 5', (embedding,)).fetchall()
    assert len(found) == 1
    conn.close()


def test_binary_copy_of_vectors(url):
    conn = psycopg.connect(url, autocommit=True)
    conn.execute('DROP TABLE IF EXISTS items')
    register_vector(conn)
    conn.execute('CREATE TABLE items (id bigserial PRIMARY KEY, embedding vector(128))')
    rng = np.random.default_rng(1)
    rows = rng.random((2000, 128)).astype(np.float32)
    cur = conn.cursor()
    with cur.copy('COPY items (embedding) FROM STDIN WITH (FORMAT BINARY)') as copy:
        copy.set_types(['vector'])
        for row in rows:
            copy.write_row([row])
    conn.execute("SET maintenance_work_mem = '64MB'")
    conn.execute('CREATE INDEX ON items USING hnsw (embedding vector_l2_ops)')
    query = rng.random(128).astype(np.float32)
    expected = list(np.argsort(((rows - query) ** 2).sum(axis=1))[:10] + 1)
    found = conn.cursor(binary=True).execute(
        'SELECT id FROM items ORDER BY embedding <-> %b LIMIT 10', (query,), prepare=True).fetchall()
    assert len(set(expected) & {row[0] for row in found}) >= 9, (expected, found)
    value = conn.cursor(binary=True).execute('SELECT embedding FROM items WHERE id = 5').fetchone()[0]
    array = value.to_numpy() if hasattr(value, 'to_numpy') else value
    assert np.array_equal(array, rows[4])
    conn.close()


def test_half_sparse_and_bit(url):
    conn = psycopg.connect(url, autocommit=True)
    conn.execute('DROP TABLE IF EXISTS kinds')
    register_vector(conn)
    conn.execute('CREATE TABLE kinds (id bigserial PRIMARY KEY, h halfvec(3), s sparsevec(5), b bit(3))')
    conn.execute('INSERT INTO kinds (h, s, b) VALUES (%s, %s, %s)', (HalfVector([1, 2, 3]), SparseVector({0: 1, 3: 2}, 5), '101'))
    conn.execute('INSERT INTO kinds (h, s, b) VALUES (%s, %s, %s)', (HalfVector([4, 5, 6]), SparseVector({1: 1}, 5), '010'))
    for binary in (False, True):
        row = conn.cursor(binary=binary).execute('SELECT h, s FROM kinds ORDER BY h <-> %s LIMIT 1', (HalfVector([3, 3, 3]),)).fetchone()
        assert row[0].to_list() == [1, 2, 3], row
        assert row[1].to_list() == [1, 0, 0, 2, 0], row
    assert conn.execute("SELECT id FROM kinds ORDER BY s <#> %s LIMIT 1", (SparseVector({3: 1}, 5),)).fetchone() == (1,)
    assert conn.execute("SELECT id FROM kinds ORDER BY b <~> '011' LIMIT 1").fetchone() == (2,)
    assert conn.execute("SELECT id FROM kinds ORDER BY b <%> '100' LIMIT 1").fetchone() == (1,)
    conn.close()


def test_sqlalchemy_readme(url):
    from pgvector.sqlalchemy import VECTOR
    from pgvector.sqlalchemy import Vector as VectorType
    from sqlalchemy import Index, Integer, create_engine, func, insert, select, text
    from sqlalchemy.orm import DeclarativeBase, Session, mapped_column

    engine = create_engine(url.replace('postgresql://', 'postgresql+psycopg://'))
    with Session(engine) as session:
        session.execute(text('CREATE EXTENSION IF NOT EXISTS vector'))
        session.commit()

    class Base(DeclarativeBase):
        pass

    class Item(Base):
        __tablename__ = 'item'
        id = mapped_column(Integer, primary_key=True)
        embedding = mapped_column(VectorType(3))

    Base.metadata.drop_all(engine)
    Base.metadata.create_all(engine)
    with Session(engine) as session:
        item = Item(embedding=[1, 2, 3])
        session.add(item)
        session.add_all([Item(embedding=[4, 5, 6]), Item(embedding=[-1, 0, 1])])
        session.commit()
        near = session.scalars(select(Item).order_by(Item.embedding.l2_distance([3, 1, 2])).limit(5)).all()
        assert [item.id for item in near] == [1, 3, 2] or len(near) == 3, [item.id for item in near]
        distance = session.scalars(select(Item.embedding.l2_distance([1, 2, 3])).order_by(Item.id)).all()
        assert distance[0] == 0
        within = session.scalars(select(Item).filter(Item.embedding.l2_distance([1, 2, 3]) < 5)).all()
        assert {item.id for item in within} == {1, 3}, [item.id for item in within]
        average = session.scalars(select(func.avg(Item.embedding))).first()
        shown = average if isinstance(average, str) else str(average.to_list())
        assert [round(v, 3) for v in json.loads(shown)] == [1.333, 2.333, 3.333], average
        session.scalars(select(func.sum(Item.embedding))).first()
        session.execute(insert(Item), [dict(embedding=e) for e in np.random.rand(50, 3)])
        session.commit()
    index = Index(
        'my_index', Item.embedding, postgresql_using='hnsw',
        postgresql_with={'m': 16, 'ef_construction': 64}, postgresql_ops={'embedding': 'vector_l2_ops'})
    index.create(engine)
    from sqlalchemy import inspect, MetaData
    inspector = inspect(engine)
    columns = {column['name']: column for column in inspector.get_columns('item')}
    assert isinstance(columns['embedding']['type'], VECTOR) and columns['embedding']['type'].dim == 3, columns
    assert [i['name'] for i in inspector.get_indexes('item')] == ['my_index']
    assert inspector.get_pk_constraint('item')['constrained_columns'] == ['id']
    reflected = MetaData()
    reflected.reflect(engine)
    assert 'item' in reflected.tables
    Base.metadata.drop_all(engine)
    engine.dispose()


if __name__ == "__main__":
    harness.run(dict(globals()))
