"""What tests/suite/initializers.rs expects, by an independent route: xoshiro256++ seeded by SplitMix64, the draws of the
initializers, and FNV-1a over the bytes of 6 x 5 values (seed 2026). Logarithms, exponentials, sines and cosines are
correctly rounded (mpmath); orthogonal matrices come from Gram-Schmidt in 200 bits.

    pip install mpmath; python initializer_bits.py
"""
import struct
import mpmath as mp
mp.mp.prec=200
M=(1<<64)-1
def gen(seed):
    st=[]
    for _ in range(4):
        seed=(seed+0x9e3779b97f4a7c15)&M
        z=seed; z=((z^(z>>30))*0xbf58476d1ce4e5b9)&M; z=((z^(z>>27))*0x94d049bb133111eb)&M; st.append(z^(z>>31))
    rot=lambda x,k:((x<<k)|(x>>(64-k)))&M
    s=st
    while True:
        r=(rot((s[0]+s[3])&M,23)+s[0])&M
        t=(s[1]<<17)&M
        s[2]^=s[0]; s[3]^=s[1]; s[1]^=s[2]; s[0]^=s[3]; s[2]^=t; s[3]=rot(s[3],45)
        yield r
def uni(g): return (next(g)>>11)*2.0**-53
class Nrm:
    def __init__(s): s.sp=None
    def next(s,g):
        if s.sp is not None:
            z=s.sp; s.sp=None; return z
        u=uni(g); r=float(mp.sqrt(mp.mpf(-2.0*float(mp.log(mp.mpf(1.0-u))))))
        a=6.283185307179586*uni(g)
        s.sp=r*float(mp.sin(mp.mpf(a))); return r*float(mp.cos(mp.mpf(a)))
def below(g,e):
    ref=(2**64-e)%e
    while True:
        p=next(g)*e
        if (p&M)>=ref: return p>>64
bits=lambda x: struct.unpack('<Q',struct.pack('<d',x))[0]
def fnv(vs):
    h=0xcbf29ce484222325
    for v in vs:
        for b in struct.pack('<d',v): h=((h^b)*0x100000001b3)&M
    return h
from math import sqrt
R,C=6,5; N=R*C; SEED=2026
def U(lo,hi):
    g=gen(SEED); return [min(lo+(hi-lo)*uni(g),hi) for _ in range(N)]
def NO(m,s):
    g=gen(SEED); n=Nrm(); return [m+s*n.next(g) for _ in range(N)]
def T(m,s,a,b):
    g=gen(SEED); n=Nrm(); o=[]
    while len(o)<N:
        z=n.next(g)
        if a<=z<=b: o.append(m+s*z)
    return o
def TT(m,s,low,high):
    g=gen(SEED); o=[]; e=lambda x: float(mp.exp(mp.mpf(x)))
    rate=0.5*low+0.5*float(mp.sqrt(mp.mpf(low)**2+4)); mass=float(mp.expm1(mp.mpf(-rate*(high-low)))); peak=min(rate,high)
    while len(o)<N:
        z=min(low-float(mp.log1p(mp.mpf(uni(g)*mass)))/rate,high)
        if not uni(g)>=e((z-peak)*(rate-0.5*z-0.5*peak)): o.append(m+s*z)
    return o
def NARROW(low,high):
    g=gen(SEED); o=[]
    while len(o)<N:
        z=min(low+(high-low)*uni(g),high)
        if uni(g)<float(mp.exp(mp.mpf(-0.5*z*z))): o.append(z)
    return o
def SP(k,std):
    g=gen(SEED); n=Nrm(); pl=list(range(C)); o=[0.0]*N
    for r in range(R):
        for i in range(k):
            j=i+below(g,C-i); pl[i],pl[j]=pl[j],pl[i]; o[r*C+pl[i]]=std*n.next(g)
    return o
def ORTH(rows,cols,gain):  # via mpmath Gram-Schmidt (positive diagonal): independent of Householder
    g=gen(SEED); n=Nrm(); lo,sh=max(rows,cols),min(rows,cols)
    vs=[[mp.mpf(n.next(g)) for _ in range(lo)] for _ in range(sh)]; q=[]
    for v in vs:
        for w in q:
            d=sum(a*b for a,b in zip(v,w)); v=[a-d*b for a,b in zip(v,w)]
        l=mp.sqrt(sum(a*a for a in v)); q.append([a/l for a in v])
    return [float(gain*(q[i][j] if rows<=cols else q[j][i])) for i in range(rows) for j in range(cols)]
g=gen(SEED); print('words',[hex(next(g)) for _ in range(4)])
cases={
 'Uniform':U(-0.3,0.7),
 'Glorot':U(-(1.0*sqrt(3.0/5.5)),1.0*sqrt(3.0/5.5)),
 'He':U(-(2**.5*sqrt(3.0/5)),2**.5*sqrt(3.0/5)),
 'LeCunOut':U(-(1*sqrt(3.0/6)),1*sqrt(3.0/6)),
 'Normal':NO(0.5,2.0),
 'HeNormal':NO(0.0,2**.5/sqrt(5)),
 'Truncated':T(0.0,1.0,-2,2),
 'LeCunTrunc':T(0.0,(1/sqrt(5))/0.8796256610342398,-2,2),
 'Tail':TT(0.0,1.0,3.0,4.0),
 'TailNarrow':TT(0.0,1.0,0.1,0.5),
 'Narrow':NARROW(-0.5,1.0),
 'Sparse':SP(3,0.1),
 'OrthTall':ORTH(6,5,1.5),'OrthSquare':ORTH(6,6,1.0),
}
for k,v in cases.items(): print(k,[hex(bits(x)) for x in v[:4]],hex(fnv(v)),v[:4])
